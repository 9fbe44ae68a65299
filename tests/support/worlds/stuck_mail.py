"""A stuck queue, a Rundeck that could restart it, and the real outside in front of both; for tests that need all of it."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Request, Response
from msgspec.structs import replace
from werkzeug.test import Client, TestResponse

from functions.application import intake, reconcile
from functions.application.documents import decode, encode
from functions.bootstrap import Adapters
from functions.config.loader import parse_config
from functions.domain.model.alerts import Alert
from functions.domain.model.events import Event, Reply, TimerFired
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.observations import Pause
from functions.entrypoints.people import answers, incidents
from testbed.doubles.rabbitmq import Queue, RabbitDouble
from testbed.doubles.rundeck import TOKEN, Job, Rundeck
from tests.support.worlds.scenes import change

YAML = """
grafana: {{auth: {{basic: {{user: grafana, passwords: [env://T_GRAFANA]}}}}}}
rundeck: {{url: {rundeck}, token: env://T_RUNDECK}}
rabbitmq: {{url: {rabbit}, user: unstick, password: env://T_RABBIT}}
store: {{local: {{path: {folder}/unstick.db}}}}
scheduler: {{local: {{path: {folder}/unstick.db}}}}
signing_keys: [env://T_KEY]
public_url: {public_url}
{more}
channels: {{console: {{type: console}}}}
notify: [console]
language: {language}
time_zone: Asia/Tokyo
runbooks:
  - name: mail-delivery
    match: ['alertname="MailStuck"']
    mode: {mode}
    approvers: {approvers}
    restart: {{job: {job}, options: {{service: '${{labels.service}}'}}, allow: {{service: '[a-z0-9][a-z0-9-]{{0,39}}'}}}}
    symptom: {{rabbitmq: {{vhost: /, users: [mail], for: 60s}}}}
    root_cause: https://tracker.example.com/MAIL-123
"""
SECRETS = {"T_GRAFANA": "g" * 32, "T_RUNDECK": TOKEN, "T_RABBIT": "secret", "T_KEY": "k" * 32, "T_MACHINE": "m" * 32}
WORK_S = 25.0
"""As much as `budget` may be, for a machine that has other work, too."""
PUBLIC_URL = "https://unstick.example.com"


@dataclass
class StuckMail:
    """`outside` is what the function has; the rest is what it meets there."""

    ports: Adapters
    rundeck: Rundeck
    rabbit: RabbitDouble
    queue: Queue

    def alert(self, fingerprint: str = "f1", **labels: str) -> Reply:
        """Grafana reports the queue as stuck."""
        alert = Alert(
            fingerprint,
            "https://grafana.example.com 1",
            True,
            {"alertname": "MailStuck", "service": "mail-delivery", "vhost": "/", "queue": "mail.outgoing", **labels},
            {"summary": "No mail was sent for 5 minutes"},
            time.time() - 300,
            panel_url="https://grafana.example.com/d/abc?viewPanel=4",
        )
        cases = self.ports.config.match_alerts((alert,))
        handled = intake.handle_notification(self.ports, cases, reconcile.Budget(self.ports, self.ports.monotonic() + WORK_S))
        assert handled.lost == 0
        return handled.replies[0]

    def document(self) -> Document:
        key = next(
            entry.key for entry in self.ports.store.list_documents(timeout_s=5) if not entry.key.startswith(("pause", "storm"))
        )
        stored = self.ports.store.load(key, timeout_s=5)
        assert stored is not None
        return decode(Document, stored.body, key)

    def change(self, **changes: object) -> None:
        """Change the incident behind Unstick's back."""
        incident = change(self.incident(), **changes)
        self.change_document(incident=incident, due=incident.due)

    def change_document(self, **changes: Any) -> None:
        """Change the document behind Unstick's back."""
        changed = replace(document := self.document(), **changes)
        stored = self.ports.store.load(document.key, timeout_s=5)
        assert stored is not None
        self.ports.store.save(document.key, encode(changed), generation=stored.generation, due=changed.due, timeout_s=5)

    def incident(self) -> Incident:
        incident = self.document().incident
        assert incident is not None
        return incident

    def path(self) -> str:
        """The approval link without its host, as it is signed for the card."""
        asked = self.incident().approval
        return f"/approve/#{self.ports.sign_approval(self.document().key, asked.nonce, asked.expires_at or 0.0)}/"

    def show(self, link: str | None = None) -> TestResponse:
        """What the link's page posts by itself: the page with the button comes back."""
        return self.client().post("/approve/open", data={"token": token_of(link or self.path())})

    def press(
        self, link: str | None = None, headers: Mapping[str, str] | None = None, act: str = "approve", **fields: str
    ) -> TestResponse:
        """What a button posts."""
        data = {"token": token_of(link or self.path()), "act": act, **fields}
        return self.client().post("/approve/open", data=data, headers=dict(headers or {}))

    def stored(self) -> list[tuple[str, bytes, str]]:
        """Everything in the store, with generations."""
        entries = [
            (entry.key, self.ports.store.load(entry.key, timeout_s=5)) for entry in self.ports.store.list_documents(timeout_s=5)
        ]
        return [(key, stored.body, stored.generation) for key, stored in entries if stored is not None]

    def advance(self, event: Event | None = None) -> None:
        """What a wake-up does, or this event."""
        budget = reconcile.Budget(self.ports, self.ports.monotonic() + WORK_S)
        reconcile.advance(self.ports, self.document().key, event or TimerFired(), budget)

    def pause(self, reason: str) -> None:
        self.ports.store.save("pause", encode(Pause(reason, "h.tanaka", time.time())), generation=None, due=None, timeout_s=5)

    def app(self) -> Any:
        """The pages for people behind HTTP, as the webhook hands them on."""

        @Request.application
        def answer(asked: Request) -> Response:
            pages = {"incidents": incidents.respond, "approve": answers.respond}
            respond = pages.get(asked.path.strip("/").partition("/")[0], lambda *_: ("", 404, {}))
            shown = respond(asked, self.ports)
            return shown if isinstance(shown, Response) else Response(*shown)

        return answer

    def client(self) -> Client:
        return Client(self.app())


def words(page: TestResponse) -> str:
    """What a reader sees, without markup."""
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def token_of(link: str) -> str:
    """What stands behind the link's `#`."""
    return link.partition("#")[2].removesuffix("/")


@contextmanager
def stuck_mail(
    folder: Path,
    *,
    language: str = "en",
    mode: str = "approve",
    public_url: str = PUBLIC_URL,
    job: Job | None = None,
    more: str = "",
    approvers: str = "[]",
) -> Iterator[StuckMail]:
    """Everything up and stuck. `more`: lines for the top of the configuration."""
    with pytest.MonkeyPatch.context() as environment, RabbitDouble() as rabbit, Rundeck(job or Job()) as rundeck:
        for name, secret in SECRETS.items():
            environment.setenv(name, secret)
        queue = rabbit.queue("mail.outgoing", ready=342, unacked=20, acks=9000, head_at=int(time.time()) - 1560)
        text = YAML.format(
            rundeck=rundeck.url,
            rabbit=rabbit.url,
            folder=folder,
            public_url=public_url,
            language=language,
            mode=mode,
            more=more,
            approvers=approvers,
            job=(job or Job()).id,
        )
        yield StuckMail(Adapters(parse_config(text)), rundeck, rabbit, queue)
