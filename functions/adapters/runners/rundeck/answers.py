"""Exchanges with Rundeck: errors with their meaning for the user, and executions as types.

Measured on Rundeck 6.2 (API 59); differences of 4.x and 5.x are from their sources. See tests/recordings/rundeck/README.md."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct

from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import INCIDENT_OPTION, NOT_AFTER_OPTION
from functions.domain.texts.patterns import mask
from functions.runtime import http_client
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.secrets import redact, with_newest
from functions.runtime.text import Phrase, Text, named

if TYPE_CHECKING:
    from functions.adapters.runners.rundeck import Rundeck

SYSTEM = "Rundeck"
API_VERSION = 41  # that of Rundeck 4.0; later ones still accept it
JSON = "application/json"
MAX_TEXT = 300
NOISE = re.compile(r"\s+at [\w.$/<>]+\(|\s*\.\.\. \d+ (more|common frames omitted)|\[wf:[\w-]+\] Step \[\d+\] did not run")
JAVA_CLASS = re.compile(r"(Exception: class )?\b(com\.dtolabs|org\.rundeck|java|groovy|grails)\.[\w.$]*(Exception|Error): ")
VARIABLES = re.compile(r"\s*\+?\s*\{?(dataContext=)?MultiDataContextImpl\(.*", re.DOTALL)
HTTP_OK = 200
HOST = re.compile(r"[0-9A-Za-z:][\w.:%-]{0,99}", re.ASCII)
SILENT = frozenset({408, 425, 429})
"""Status codes of proxies, never of Rundeck itself. The request may or may not have reached Rundeck."""


class Refusal(Struct, frozen=True):
    """One kind of refusal: how to recognize it (empty fields match anything) and its meaning for the user."""

    status: int
    error_code: str
    message: str
    sentence: Phrase
    remedy: Phrase
    code: DeniedCode | None = None
    quoted: bool = False  # whether to quote Rundeck's own text, with secrets masked


EVENT_RIGHT = Text("Allow `read` on the resource kind event in the project (infra/rundeck/unstick.aclpolicy).")
_TOKEN = (
    Text("does not accept the token"),
    Text("Create a new token (infra/rundeck/README.md) and put it where rundeck.token points."),
)
_ACL = Text("the token's role lacks a permission"), Text("Load infra/rundeck/unstick.aclpolicy for the token's role.")
_JOB = (
    Text("there is no such job, project or execution"),
    Text("Compare restart.job with the UUID on the job's page in Rundeck."),
)
PROJECT_OFF = Text("the project is disabled, or being deleted"), Text("Enable the project in Rundeck, or change restart.job.")
OFF = Text("executions are disabled"), Text("Enable executions of the job and of its project in Rundeck.")
PASSIVE = (
    Text("is in passive mode and starts nothing"),
    Text("Set Rundeck's execution mode to active. Until then its web interface starts nothing either."),
)
_URL = (
    Text("what answers there is not the Rundeck API"),
    Text("Check rundeck.url: scheme, port (4440 by default), context path, and any proxy in front."),
)
_OPTION = (
    Text("the job does not accept these options"),
    Text("Compare restart.options with the options in the job's definition."),
)
_REFUSED = Text("refused the request"), Text("Check Rundeck's service.log at this time.")

ERRORS = (
    Refusal(401, "", "", *_URL),  # Rundeck answers 403 to a bad token: this is another server, or a proxy that wants a login
    Refusal(403, "unauthorized", "", *_TOKEN, DeniedCode.TOKEN),
    Refusal(403, "", "", *_ACL, DeniedCode.ACL, quoted=True),
    Refusal(404, "api.error.invalid.request", "", *_URL),
    Refusal(404, "api.error.project.disabled", "", *PROJECT_OFF),  # of its executions, too: they are not gone
    Refusal(404, "api.error.", "", *_JOB, DeniedCode.JOB),
    Refusal(404, "", "", *_URL),
    Refusal(400, "api.error.job.disabled", "", *OFF),
    Refusal(400, "api.error.job.options-invalid", "", *_OPTION, quoted=True),
    Refusal(400, "api.error.execution.failed", "PASSIVE", *PASSIVE, DeniedCode.PASSIVE),
    Refusal(409, "", "", Text("the job is already running"), "", DeniedCode.BUSY),
    Refusal(0, "", "", *_REFUSED, quoted=True),
)
"""What each error answer means; the first that matches. `error_code` is matched from its beginning."""


class Connection(Struct, frozen=True):
    """Where to send requests, and the deadline (monotonic seconds)."""

    settings: Rundeck
    ends: float
    api_version: int = API_VERSION

    @property
    def left_s(self) -> float:
        return self.ends - time.monotonic()


def connect(settings: Rundeck, timeout_s: float) -> Connection:
    """What the calls for one question share: the settings and the deadline."""
    return Connection(settings, time.monotonic() + timeout_s)


def ask(to: Connection, method: str, path: str, *, json: Any = None, accept: str = JSON) -> http_client.Answer:
    """One exchange; `path` follows /api/N/. Returns Rundeck's answer with a status of success. Raises Denied by ERRORS, and
    Unavailable if the result is unclear. A rejected token is read again; if it was replaced in the meantime, the request is
    sent once more: after a rejected token nothing ran."""
    url = f"{to.settings.url.rstrip('/')}/api/{to.api_version}/{path}"

    def send(token: bytes) -> http_client.Answer:
        headers = {"X-Rundeck-Auth-Token": token.decode("latin-1").strip(), "Accept": accept}
        return http_client.request(SYSTEM, method, url, timeout_s=to.left_s, headers=headers, json=json, ca=to.settings.ca)

    answer = with_newest(to.settings.token, send, _token_refused)
    if not HTTP_OK <= answer.status < 300 or _is_html(answer):
        raise _to_error(method, answer)
    return answer


def read_execution(to: Connection, execution: str) -> dict[str, Any]:
    """The execution as Rundeck describes it. Raises as `ask` does."""
    return ask(to, "GET", f"execution/{quote(execution, safe='')}").object()


def without_empty(options: Mapping[str, str]) -> dict[str, str]:
    """Without empty values: Rundeck treats an empty option like a missing one."""
    return {name: value for name, value in options.items() if value != ""}


def start(to: Connection, job: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Start the job, and return the execution as Rundeck describes it. Raises as `ask` does."""
    return ask(to, "POST", f"job/{quote(job, safe='')}/run", json={"options": options}).object()


def read_nodes(to: Connection, project: str, node_filter: str) -> dict[str, Mapping[str, Any]]:
    """The attributes of the project's nodes that the filter matches and the token may read, by name. Raises as `ask` does."""
    path = f"project/{quote(project, safe='')}/resources?filter={quote(node_filter, safe='')}"
    return {name: node for name, node in mapping(ask(to, "GET", path).json()).items() if isinstance(node, dict)}


def has_terminal(node: Mapping[str, Any]) -> bool:
    """Whether a command gets one on this node, and so ends with its connection (measured on 6.1 with JSch and sshj, 6 of 6).
    `ssh-exec` calls OpenSSH without one, and a command of the server itself has no connection."""
    return str(node.get("always-set-pty")).lower() == "true" and str(node.get("node-executor", "ssh")).endswith("ssh")


def _is_html(answer: http_client.Answer) -> bool:
    return answer.headers.get("content-type", "").lower().startswith("text/html")


def _token_refused(answer: http_client.Answer) -> bool:
    return answer.status == 401 or (answer.status == 403 and _error(answer)[0] == "unauthorized")


def _error(answer: http_client.Answer) -> tuple[str, str]:
    """The fields errorCode and message; both may be missing, and `error` may be a text instead of true."""
    try:
        body = answer.object()
    except Unavailable:
        return "", ""
    return str(body.get("errorCode") or ""), str(body.get("message") or body.get("error") or "")


def _to_error(method: str, answer: http_client.Answer) -> Denied | Unavailable:
    if answer.status >= 500 or answer.status in SILENT:
        return Unavailable(SYSTEM, named(Text("answered {status}", status=str(answer.status)), quoted(_error(answer)[1])))
    if answer.status < 300 and not (_is_html(answer) and method == "GET"):
        return Unavailable(SYSTEM, Text("answered {status} without saying what it did", status=str(answer.status)))
    if answer.status < 400 or _is_html(answer):
        sentence, remedy = _URL
        return Denied(SYSTEM, sentence, remedy=remedy, status=answer.status)
    code, message = _error(answer)
    rows = (row for row in ERRORS if row.status in (0, answer.status))
    refusal = next(row for row in rows if code.startswith(row.error_code) and row.message in message)
    detail = named(refusal.sentence, quoted(message)) if refusal.quoted else refusal.sentence
    return Denied(SYSTEM, detail, code=refusal.code, remedy=refusal.remedy, status=answer.status)


def quoted(text: str) -> str:
    """A text of Rundeck's as one line, with secrets masked."""
    return plain(mask(redact(text))) if text else ""


def plain(text: str, limit: int = MAX_TEXT) -> str:
    """One line of at most `limit` characters, with control characters escaped."""
    shown = "".join(
        char if char.isprintable() else " " if char.isspace() else char.encode("unicode_escape").decode() for char in text[:limit]
    )
    return shown if len(text) <= limit else f"{shown}..."


def without_noise(line: str) -> str:
    """The line without what only Rundeck's developers read: Java's traces and class names, rules of steps, dumps of variables."""
    if NOISE.match(line):
        return ""
    return plain(VARIABLES.sub("", JAVA_CLASS.sub("", line)))


def runner_now(answer: http_client.Answer) -> float:
    """Rundeck's clock from the Date header, whole seconds, so up to 1 s in the past."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        raise Unavailable(SYSTEM, Text("sent no usable Date header, so its clock is unknown; let the proxy pass it on")) from None


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` as an object. Raises Unavailable if it isn't one."""
    if isinstance(value, dict):
        return value
    raise Unavailable(SYSTEM, Text("sent something other than what was asked for"))


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """`value` as a list of objects. Raises Unavailable if it isn't one."""
    if isinstance(value, list):
        return [mapping(row) for row in value]
    raise Unavailable(SYSTEM, Text("sent something other than what was asked for"))


def part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The part of an object; empty if it has none."""
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def options_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The options that a run was started with, without empty values."""
    given = part(part(row, "job"), "options")
    return {str(name): str(value) for name, value in given.items() if value not in ("", None)}


def execution_of(row: Mapping[str, Any], settings: Rundeck, holder: str = "") -> Execution:
    """Convert Rundeck's execution object. `holder`: the option that limits a run to one host; its default, such as `.*`, is no
    host. Only `date-ended` shows whether it ended: the list of statuses is open. Its link isn't
    used: it has the server's configured URL, which may be wrong."""
    number, status, custom = row.get("id"), row.get("status"), row.get("customStatus")
    if not re.fullmatch(r"\d+", str(number), re.ASCII) or not isinstance(status, str):
        raise Unavailable(SYSTEM, Text("sent an execution without an id or a status"))
    options = options_of(row)
    return Execution(
        id=str(number),
        url=f"{settings.url.rstrip('/')}/project/{quote(str(row.get('project') or ''), safe='')}/execution/show/{number}",
        status=plain(f"{status}: {quoted(str(custom))}" if custom else status, 60),
        runner_started_at=seconds(row.get("date-started")),
        runner_ended_at=seconds(row.get("date-ended")),
        tag=plain(options.get(INCIDENT_OPTION, ""), 100),
        runner_not_after=_not_after(options.get(NOT_AFTER_OPTION, "")),
        user=plain(str(row.get("user") or ""), 100),
        aborted_by=plain(str(row.get("abortedby") or ""), 100),
        host=host if HOST.fullmatch(host := options.get(holder, "")) else "",
        scheduled=status in ("scheduled", "queued") and row.get("date-ended") is None,
    )


def seconds(moment: Any) -> float | None:
    """{"unixtime": milliseconds} as seconds."""
    milliseconds = moment.get("unixtime") if isinstance(moment, dict) else None
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else None


def _not_after(value: str) -> float | None:
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 12 else None
