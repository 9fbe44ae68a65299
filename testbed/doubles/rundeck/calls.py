"""What the Rundeck stand-in does with a request: version, token, permission, path, answer or error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import yaml

from testbed.doubles.rundeck import admin, pages
from testbed.doubles.rundeck.state import Refused, Run

if TYPE_CHECKING:
    from testbed.doubles.rundeck import Rundeck

ALL = {
    "toggle_execution", "run", "update", "toggle_schedule", "create", "read", "delete", "view", "kill", "events", "system",
    "runAs", "nodes",
}  # fmt: skip
LEVELS = {
    "admin": ALL,
    "runner": {"run", "read", "kill", "events", "system", "nodes"},
    "no-events": {"run", "read", "view", "kill", "system", "nodes"},
    "viewer": {"read", "view", "events"},
    "none": set(),
}
"""What a token of each level may do; `runner` is infra/rundeck/unstick.aclpolicy."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that arrived, whatever came of it. Header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    kind: str = "application/json;charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    session: bool = True
    """Whether it opens one, and so sets a cookie."""


def as_json(status: int, body: Any, *headers: tuple[str, str]) -> Reply:
    return Reply(status, json.dumps(body).encode(), headers=headers)


def refusal(refused: Refused) -> Reply:
    body: dict[str, Any] = {"error": True, "apiversion": pages.NEWEST, "errorCode": refused.code, "message": refused.message}
    if refused.arguments:
        body["args"] = list(refused.arguments)
    reply = as_json(refused.status, body, ("X-Rundeck-API-Version", str(pages.NEWEST)))
    return replace(reply, session=refused.code != "api.error.project.missing")


def denied(action: str, kind: str, name: str) -> Refused:
    return Refused(
        403, "api.error.item.unauthorized", f'Not authorized for action "{action}" for {kind} {name}', action, kind, name
    )


def bare(status: int, code: str, message: str) -> Refused:
    """The kind of error that has no `args`."""
    return Refused(status, code, message)


class Call:
    """One authenticated request on its way to an answer."""

    def __init__(self, double: Rundeck, seen: Seen, version: int, may: set[str]) -> None:
        self.double, self.state, self.seen, self.version, self.may = double, double.state, seen, version, may
        self.query = {name: values[-1] for name, values in parse_qs(seen.query, keep_blank_values=True).items()}

    def route(self, rest: str) -> Reply:
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, rest)
            if match and self.seen.method in method.split():
                with self.state.lock:
                    self.state.settle()
                reply: Reply = answer(self, *(unquote(part) for part in match.groups()))
                return reply
        if any(re.fullmatch(pattern, rest) for _, pattern, _ in ROUTES):
            return Reply(405, b'{"error": "Method not allowed"}', "application/json")
        raise Refused(404, "api.error.invalid.request", f"Invalid API Request: {self.seen.path}", self.seen.path)

    def needs(self, version: int) -> None:
        if self.version < version:
            said = f"Minimum supported version: {version}"
            raise unsupported(self.version, self.seen.path, said)

    def job(self, number: str, action: str = "") -> Any:
        job = self.state.jobs.get(number)
        if job is None:
            raise Refused(404, "api.error.item.doesnotexist", f"Job ID does not exist: {number}", "Job ID", number)
        if action and action.lower() not in self.may:
            raise denied(action, "Job ID", number)
        return job

    def run_job(self, number: str) -> Reply:
        job = self.job(number, "Run")
        self.state.refuse_disabled(job.project)
        body = self._json()
        if body.get("asUser") and "runAs" not in self.may:
            raise denied("Run as User", "Job ID", number)
        given = body.get("options") if self.version >= 18 and isinstance(body.get("options"), dict) else {}
        user = str(body.get("asUser") or self.double.user)
        run = self.state.start(job.id, given or {}, user, _time(body.get("runAtTime")))
        with self.state.lock:
            return as_json(200, pages.execution(self.state, run, self.double.url, as_of=self.state.now()))

    def _json(self) -> dict[str, Any]:
        """The body if it is believed: another content type, or what does not parse, is ignored without an error."""
        if "json" not in self.seen.headers.get("content-type", ""):
            return {}
        try:
            body = json.loads(self.seen.body)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    def job_list(self, number: str) -> Reply:
        job = self.job(number, "Read")
        self.state.refuse_disabled(job.project)
        if "events" not in self.may:
            raise denied("Read", "Events in Project", job.project)
        return self._listed([run for run in self.state.runs.values() if run.job == number], self.query.get("status"))

    def project_list(self, project: str) -> Reply:
        return self._listed([run for run in self.state.runs.values() if run.project == project], self.query.get("statusFilter"))

    def _listed(self, runs: list[Run], status: str | None) -> Reply:
        """Ended ones by their end, newest first; unfinished ones last. Rows go missing after paging where they are hidden."""
        size, offset = self._number("max", 20), self._number("offset", 0)
        with self.state.lock:
            as_of = self.state.now() - self.state.lag_s
            rows = [
                pages.execution(self.state, run, self.double.url, as_of=as_of)
                for run in runs
                if run.started <= as_of or run.scheduled
            ]
        also = {"failed": ("timedout", "failed-with-retry")}.get(status or "", ())
        rows = [row for row in rows if not status or row["status"] in (status, *also) or row.get("customStatus") == status]
        rows.sort(key=lambda row: (row.get("date-ended", {"unixtime": 0})["unixtime"], row["id"]), reverse=True)
        shown = [] if self.state.hides_rows else rows[offset:][: size or None]
        return as_json(
            200, {"paging": {"count": len(shown), "total": len(rows), "offset": offset, "max": size}, "executions": shown}
        )

    def _number(self, name: str, default: int) -> int:
        value = self.query.get(name, str(default))
        if not value.isdigit():
            said = f"Property {name} must be a valid number"
            raise Refused(400, "api.error.parameter.error", f"Some parameters were invalid: {said}", said)
        return int(value)

    def found(self, number: str, action: str) -> Run:
        run = self.state.runs.get(int(number)) if number.isdigit() else None
        if run is None:
            raise bare(404, "api.error.item.doesnotexist", f"Execution does not exist: {number}")
        if action not in self.may:
            raise bare(403, "api.error.item.unauthorized", f'Not authorized for action "{action}" for Execution {number}')
        return run

    def execution(self, number: str) -> Reply:
        run = self.found(number, "read")
        with self.state.lock:
            return as_json(200, pages.execution(self.state, run, self.double.url, as_of=self.state.now()))

    def output(self, number: str) -> Reply:
        if number.isdigit() and int(number) in self.state.runs and not self.may & {"view", "read"}:
            said = f'Not authorized for action "view" for Execution {number}'
            return as_json(403, {"error": said, "id": number, "offset": "0", "completed": False})
        run = self.found(number, "read" if "read" in self.may else "view")
        self.state.refuse_disabled(run.project)
        now = self.state.now()
        if run.ended is None and now - run.started < self.state.output_after_s:
            return as_json(200, pages.pending_output(run, now))
        return as_json(200, pages.output(run, last=self._number("lastlines", 0), now=self.state.now(), version=self.version))

    def abort(self, number: str) -> Reply:
        run = self.found(number, "kill")
        self.state.refuse_disabled(run.project)
        with self.state.lock:
            status, reason, left = self.state.abort(run.id, self.double.user, force=self.query.get("forceIncomplete") == "true")
        links = {"href": f"{self.double.url}/api/{pages.NEWEST}/execution/{number}"}
        links["permalink"] = f"{self.double.url}/project/{run.project}/execution/show/{number}"
        said = {"status": status} | ({"reason": reason} if reason else {})
        return as_json(200, {"abort": said, "execution": {"id": number, "status": left, **links}})

    def info(self, number: str) -> Reply:
        job = self.job(number)
        if "read" not in self.may:
            raise bare(403, "api.error.item.unauthorized", f'Not authorized for action "read" for Job {number}')
        page = pages.info(self.state, job, self.double.url, version=self.version)
        return as_json(200, page)

    def meta(self, number: str) -> Reply:
        self.needs(46)
        return as_json(200, pages.meta(self.state, self.job(number, "Read"), may=self.may))

    def project_meta(self, project: str) -> Reply:
        self.needs(46)
        return as_json(200, pages.project_meta(self.state, project, may=self.may))

    def definition(self, number: str) -> Reply:
        job = self.job(number, "Read")
        self.state.refuse_disabled(job.project)
        body = self.double.definitions.get(number) or pages.definition(job)
        return Reply(200, yaml.safe_dump(body).encode(), "text/yaml;charset=UTF-8")

    def nodes(self, project: str) -> Reply:
        if "nodes" not in self.may:
            raise denied("Read Nodes", "Project", project)
        readable = [
            name for name in self.state.matched(self.query.get("filter", "name: .*")) if name not in self.state.hidden_nodes
        ]
        tags, hosts, more = self.state.nodes, self.state.hostnames, self.state.attributes
        return as_json(200, {name: pages.node(name, tags[name], hosts.get(name, name), more.get(name, {})) for name in readable})

    def import_jobs(self, project: str) -> Reply:
        body, definitions, may_create = self.seen.body, self.double.definitions, "create" in self.may
        taken = admin.import_jobs(body, project, self.state, definitions, url=self.double.url, may_create=may_create)
        return as_json(200, taken)

    def create_token(self, user: str) -> Reply:
        if "runAs" not in self.may:
            said = "Unauthorized: generate API token"
            raise Refused(400, "api.error.invalid.request", f"Invalid API Request: {said}", said)
        return as_json(201, admin.create_token(self.seen.body, user, self.state, self.double.tokens))

    def tokens(self) -> Reply:
        tokens = self.state.tokens.values() if "runAs" in self.may else ()
        return as_json(200, [admin.shown_token(token, self.state.now()) for token in tokens])

    def revoke_token(self, number: str) -> Reply:
        token = admin.find_token(self.state, number, is_admin="runAs" in self.may)
        del self.state.tokens[token.id]
        self.double.tokens.pop(token.secret, None)
        return Reply(204, b"", "text/plain")

    def system(self) -> Reply:
        return as_json(200, pages.system(self.double.url, self.state, full="system" in self.may))


ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("POST", r"job/([^/]+)/run", Call.run_job),
    ("POST", r"job/([^/]+)/executions", Call.run_job),
    ("GET", r"job/([^/]+)/executions", Call.job_list),
    ("GET", r"job/([^/]+)/info", Call.info),
    ("GET", r"job/([^/]+)/meta", Call.meta),
    ("GET", r"job/([^/]+)", Call.definition),
    ("GET", r"project/([^/]+)/executions", Call.project_list),
    ("GET", r"project/([^/]+)/resources", Call.nodes),
    ("GET", r"project/([^/]+)/meta", Call.project_meta),
    ("POST", r"project/([^/]+)/jobs/import", Call.import_jobs),
    ("POST", r"tokens/([^/]+)", Call.create_token),
    ("GET", r"tokens", Call.tokens),
    ("DELETE", r"token/([^/]+)", Call.revoke_token),
    ("GET", r"execution/([^/]+)", Call.execution),
    ("GET", r"execution/([^/]+)/output", Call.output),
    ("GET POST", r"execution/([^/]+)/abort", Call.abort),
    ("GET", r"system/info", Call.system),
)


def unsupported(version: object, path: str, reason: str) -> Refused:
    message = f'Unsupported API Version "{version}". API Request: {path}. Reason: {reason}'
    return Refused(400, "api.error.api-version.unsupported", message, version, path, reason)


def _time(value: Any) -> float | str | None:
    if value is None:
        return None
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return str(value)


def answer(double: Rundeck, seen: Seen) -> Reply:
    """What Rundeck says: the version first, then the token, then the rest."""
    match = re.fullmatch(r"/api/([^/]*)/(.*)", seen.path)
    if not match:
        return Reply(302, b"", "text/html", (("Location", f"{double.url}/user/login"),))
    version, rest = match.groups()
    try:
        if not version.isdigit() or not pages.OLDEST <= int(version) <= pages.NEWEST:
            return replace(refusal(unsupported(version, seen.path, f"Current version: {pages.NEWEST}")), session=False)
        token = parse_qs(seen.query).get("authtoken", [seen.headers.get("x-rundeck-auth-token", "")])[-1]
        if token not in double.tokens:
            who = f"Token:{token[:5]}****" if token else "unauthenticated"
            return as_json(
                403,
                {
                    "error": True,
                    "apiversion": pages.NEWEST,
                    "errorCode": "unauthorized",
                    "message": f"({who}) is not authorized for: {seen.path}",
                },
            )
        return Call(double, seen, int(version), LEVELS[double.tokens[token]]).route(rest)
    except Refused as refused:
        return refusal(refused)
