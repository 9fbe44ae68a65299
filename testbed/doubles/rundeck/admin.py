"""What people do in Rundeck before Unstick can work: import jobs, make and revoke tokens, switch a project off."""

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import yaml

from testbed.doubles.rundeck import pages
from testbed.doubles.rundeck.state import NOT_AFTER, Job, Option, Refused, State, Token

MAX_TOKEN_S = 2_592_000
"""`rundeck.api.tokens.duration.max` as it is shipped: 30 days."""
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def import_jobs(
    body: bytes, project: str, state: State, definitions: dict[str, list[Any]], *, url: str, may_create: bool
) -> dict[str, Any]:
    """Each job of the document taken or refused by itself; the status says nothing of that."""
    try:
        document = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise Refused(
            400, "api.error.jobs.import.invalid", f"Jobs Document was invalid for format yaml: {error}", "yaml", str(error)
        ) from None
    succeeded, failed = [], []
    for index, definition in enumerate(document, 1):
        job = _job_of(definition, project)
        row: dict[str, Any] = {"index": index, "name": job.name, "group": job.group, "project": project}
        before = state.jobs.get(job.id)
        problem = _problem(definition, job, state, may_create=may_create)
        if not problem or (before is not None and before.project == project) or "hidden" in problem.lower():
            row |= {"id": job.id, **pages.job_links(job, url)}
        if problem:
            failed.append(row | {"error": problem})
        else:
            succeeded.append(row)
            state.jobs[job.id] = job
            definitions[job.id] = [definition | {"id": job.id}]
    return {"succeeded": succeeded, "failed": failed, "skipped": []}


def _problem(definition: dict[str, Any], job: Job, state: State, *, may_create: bool) -> str:
    there = state.jobs.get(job.id)
    if there is not None and there.project != job.project:
        said = "a Job already exists with this UUID. Change the UUID or delete the other Job."
        said = f"Cannot create a Job with UUID {job.id}: {said}"
        return f"{said}\nValidation failed\n{said}\nValidation errors for: uuid"
    if not may_create:
        return f"Unauthorized: Update Job {[*state.jobs].index(job.id) + 1}" if there else "Unauthorized: Create Job"
    hidden = [
        f"Invalid Option definition: {option['name']}: Hidden options must have a default value or storage path."
        for option in definition.get("options", ())
        if option.get("hidden") and not (option.get("value") or option.get("storagePath"))
    ]
    return "\n".join([*hidden, "Validation failed", *hidden, "Validation errors for: options"]) if hidden else ""


def _job_of(definition: dict[str, Any], project: str) -> Job:
    options = tuple(
        Option(
            option["name"],
            required=bool(option.get("required")),
            values=tuple(option.get("values", ())) if option.get("enforced") else (),
            regex=option.get("regex", ""),
            default=option.get("value", ""),
            secure=bool(option.get("secure")),
        )
        for option in definition.get("options", ())
    )
    sequence, timeout = definition.get("sequence", {}), re.fullmatch(r"(\d+)([smhd])", str(definition.get("timeout", "")))
    steps = sequence.get("commands") or [{}]
    return Job(
        id=definition.get("uuid") or definition.get("id") or str(uuid.uuid4()),
        name=definition["name"],
        group=definition.get("group", ""),
        project=project,
        description=definition.get("description", ""),
        options=options,
        enabled=definition.get("executionEnabled", True),
        limit=0 if definition.get("multipleExecutions") else 1,
        nodes=definition.get("nodefilters", {}).get("filter", ""),
        timeout_s=int(timeout[1]) * UNITS_S[timeout[2]] if timeout else None,
        retries=int(definition.get("retry") or 0),
        strategy=sequence.get("strategy", "node-first"),
        keepgoing=bool(sequence.get("keepgoing")),
        guard=NOT_AFTER in str(steps[0]),
        steps=len(steps),
    )


def create_token(body: bytes, user: str, state: State, levels: dict[str, str]) -> dict[str, Any]:
    """A token, whose secret is shown this once."""
    asked = json.loads(body)
    duration = re.fullmatch(r"(\d+)([smhdwy])", asked.get("duration") or "30d")
    seconds = int(duration[1]) * UNITS_S[duration[2]] if duration else 0
    if seconds > MAX_TOKEN_S:
        said = f"Duration exceeds maximum allowed: {MAX_TOKEN_S}"
        raise Refused(400, "api.error.invalid.request", f"Invalid API Request: {said}", said)
    number = str(uuid.uuid4())
    token = Token(number, uuid.uuid4().hex, user, tuple(asked["roles"]), state.now() + seconds)
    state.tokens[number] = token
    levels[token.secret] = "admin" if "admin" in token.roles else "runner" if "unstick" in token.roles else "none"
    return shown_token(token, state.now()) | {"token": token.secret}


def shown_token(token: Token, now: float) -> dict[str, Any]:
    ends = datetime.fromtimestamp(token.ends, UTC)
    return {
        "id": token.id, "creator": token.creator, "user": token.user, "roles": list(token.roles),
        "expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"), "expired": token.ends <= now,
    }  # fmt: skip


def find_token(state: State, number: str, *, is_admin: bool) -> Token:
    """The token, for those who may see tokens: to all others, its own bearer included, it does not exist."""
    token = state.tokens.get(number)
    if token is None or not is_admin:
        raise Refused(404, "api.error.item.doesnotexist", f"Token does not exist: {number}", "Token", number)
    return token
