"""Connects the application to the adapters that the configuration names."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.application import signing
from functions.application.ports import Chat, Finding, Listed, Runner, Scheduler, Store, Stored, SymptomAdapter
from functions.config.current import current_config
from functions.config.registry import load_adapter
from functions.config.settings import Config
from functions.domain.model.alerts import Target
from functions.domain.model.codes import FIRST_VERSION
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.domain.model.runbooks import Rules
from functions.runtime import logs
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import run_parallel
from functions.runtime.text import in_language


@lru_cache(maxsize=1)
def current_adapters() -> Adapters:
    """The adapters of this process's configuration, made on first use: after the fork of the worker."""
    return Adapters(current_config())


def _chat(name: str) -> Chat:
    return load_adapter("chats", name)


class Adapters(Struct, frozen=True):
    """The systems that unstick.yaml names. Adapters are imported when they are first needed."""

    config: Config

    @property
    def rules(self) -> Rules:
        return self.config.rules

    # --- clocks and threads

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def run_parallel(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]:
        return run_parallel(calls, timeout_s=timeout_s)

    # --- store

    @property
    def _store(self) -> Store:
        return load_adapter("stores", self.config.store.name)

    def load(self, key: str, timeout_s: float) -> Stored | None:
        return self._store.load(self.config.store.settings, key, timeout_s=timeout_s)

    def save(self, key: str, body: bytes, generation: str | None, due: float | None, timeout_s: float) -> str:
        return self._store.save(self.config.store.settings, key, body, generation=generation, due=due, timeout_s=timeout_s)

    def list_documents(self, timeout_s: float) -> list[Listed]:
        return self._store.list_documents(self.config.store.settings, timeout_s=timeout_s)

    def archive(self, path: str, body: bytes, timeout_s: float) -> None:
        self._store.archive(self.config.store.settings, path, body, timeout_s=timeout_s)
        if self.config.grafana.annotations is not None and path.startswith("incidents/"):
            from functions.adapters.grafana.annotations import mark_archived

            for problem in mark_archived(self.config.grafana.annotations, path, body, self.rules, timeout_s=timeout_s):
                self.log("WARNING", problem)

    def read_archived(self, path: str, timeout_s: float) -> bytes | None:
        return self._store.read_archived(self.config.store.settings, path, timeout_s=timeout_s)

    def read_archive(self, since: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
        """(path, body) from DATE `since` on, oldest first. Raises Unavailable once all of it takes longer than this."""
        ends = self.monotonic() + timeout_s
        for record in self._store.read_archive(self.config.store.settings, since=since, timeout_s=timeout_s):
            if self.monotonic() > ends:
                raise Unavailable("store", f"the archive could not be read within {timeout_s:.0f} s", late=True)
            yield record

    # --- scheduler

    @property
    def _scheduler(self) -> Scheduler:
        return load_adapter("schedulers", self.config.scheduler.name)

    def wake(self, at: float, content: Mapping[str, Any], timeout_s: float) -> None:
        payload = signing.sign(self.config.signing_keys, {"v": FIRST_VERSION, **content})
        self._scheduler.wake(self.config.scheduler.settings, at, payload, timeout_s=timeout_s)

    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str:
        return signing.sign_approval(self.config.signing_keys, key, nonce, expires_at)

    # --- runner and symptom

    @property
    def _runner(self) -> Runner:
        return load_adapter("runners", self.config.runner.name)

    def read_history(
        self, target: Target, since_s: float, follow: str | None, timeout_s: float, *, tail: bool
    ) -> ExecutionHistory:
        return self._runner.look(
            self.config.runner.settings, target, since_s=since_s, follow=follow, tail=tail, timeout_s=timeout_s
        )

    @property
    def symptoms(self) -> Mapping[str, SymptomAdapter]:
        return self.config.symptoms

    def run(self, target: Target, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        return self._runner.run(
            self.config.runner.settings, target, tag=tag, runner_not_after=runner_not_after, timeout_s=timeout_s
        )

    def abort(self, execution: str, timeout_s: float) -> None:
        self._runner.abort(self.config.runner.settings, execution, timeout_s=timeout_s)

    def start_page(self, target: Target) -> str:
        return self._runner.start_page(self.config.runner.settings, target)

    def start_evidence(self, job: str, options: Mapping[str, str], tag: str, timeout_s: float) -> Execution:
        return self._runner.start_evidence(self.config.runner.settings, job, options, tag=tag, timeout_s=timeout_s)

    def read_evidence(self, job: str, tag: str, execution: str | None, timeout_s: float) -> tuple[Execution | None, str | None]:
        return self._runner.read_evidence(self.config.runner.settings, job, tag=tag, execution=execution, timeout_s=timeout_s)

    # --- people

    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
        named = self.config.channels.get(channel)
        if named is None:
            self._post_instead(channel, card, timeout_s)
            return None
        return _chat(named.name).post(named.settings, card, thread=thread, language=self.rules.language, timeout_s=timeout_s)

    def _post_instead(self, gone: str, card: Card, timeout_s: float) -> None:
        """A message waited for a channel that was taken out meanwhile. Others get it, without the link that answers."""
        from functions.domain.decisions.messages import default_channels
        from functions.domain.texts.words import LINK_ACKNOWLEDGE, LINK_APPROVE

        instead = next((name for name in default_channels(self.rules) if name in self.config.channels), None)
        if instead is None:
            raise Denied("chat", f"the channel {gone} is not in the configuration", remedy=f"Add `{gone}` to `channels`.")
        self.log("WARNING", f"posted to {instead}, since the configuration no longer has the channel {gone}")
        answers = {in_language(self.rules.language, label) for label in (LINK_APPROVE, LINK_ACKNOWLEDGE)}
        self.post(instead, replace(card, links=tuple(link for link in card.links if link[0] not in answers)), None, timeout_s)

    # --- what `check` asks

    def check_store(self, timeout_s: float) -> list[Finding]:
        return self._store.check(self.config.store.settings, timeout_s=timeout_s)

    def check_scheduler(self, timeout_s: float) -> list[Finding]:
        return self._scheduler.check(self.config.scheduler.settings, timeout_s=timeout_s)

    def check_channel(self, channel: str, timeout_s: float) -> list[Finding]:
        named = self.config.channels[channel]
        return _chat(named.name).check(named.settings, timeout_s=timeout_s)

    def check_job(
        self, job: str, options: tuple[str, ...], timeout_s: float, *, auto: bool, max_run_s: float = math.inf
    ) -> list[Finding]:
        settings = self.config.runner.settings
        return self._runner.check(settings, job, options, auto=auto, max_run_s=max_run_s, timeout_s=timeout_s)

    def check_evidence(self, job: str, options: tuple[str, ...], within_s: float, timeout_s: float) -> list[Finding]:
        return self._runner.check_evidence(self.config.runner.settings, job, options, within_s=within_s, timeout_s=timeout_s)

    # --- the process

    def is_paused_by_environment(self) -> bool:
        return os.environ.get("UNSTICK_PAUSED", "") not in ("", "0", "false")

    def log(self, severity: str, message: str, **fields: object) -> None:
        logs.event(severity, message, **fields)
