"""Record what the first release wrote: documents, archive records and payloads of wake-ups. See README.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from functions.errors import Unavailable
from functions.model import VERSION, Case, Execution, Mode, Restart, Slot, Storm, Verify, Woken
from functions.secret_store import SecretRef
from msgspec.structs import replace
from tests.core.memory import Memory
from tests.core.scenes import AHEAD_S, MAIL, NEW, NOW, TARGET, alert, alerted, execution, rules, runbook, sighting, well

from functions import arrivals, flow, wakeups

TO = Path(__file__).parent
KEY = TARGET.key
DOWN = Unavailable("Rundeck", "rundeck.example.com: connection refused")
SIGNING_KEY = "a key of the tests, for recordings only"


def fails(*names: str) -> Callable[[str], None]:
    def before(name: str) -> None:
        if name.startswith(names):
            raise DOWN

    return before


def world(**changes: object) -> Memory:
    return Memory(rules=rules(runbook(verify=Verify(first_s=5.0)), public_url="https://unstick.example.com"), **changes)


def advance(memory: Memory, event: object = None, *, after_s: float = 0.0) -> None:
    memory.clock += after_s
    flow.advance(memory, KEY, event or alerted(), memory.budget(20.0))


def end(memory: Memory, status: str = "succeeded") -> None:
    """The job ends now, by the runner's clock."""
    memory.executions[0] = replace(memory.executions[0], status=status, runner_ended_at=memory.clock + AHEAD_S)


def write(name: str, body: bytes) -> None:
    (TO / f"{name}.json").write_bytes(body + b"\n")


def keep(name: str, memory: Memory, key: str = KEY) -> None:
    write(name, memory.bodies[key][0])
    for body in memory.archived.values():
        write(f"archive-{name}", body)


def deferred() -> None:
    def late(name: str) -> None:
        if name == "history":
            raise Unavailable("time", "no answer in the time given", late=True)

    memory = world(before=late)
    advance(memory)
    keep("deferred", memory)


def waiting() -> None:
    memory = world(before=fails("history"))
    advance(memory)
    keep("waiting-for-history", memory)
    memory = world()
    memory.executions = [_run(1, 300.0)]
    advance(memory)
    keep("waiting-for-cooldown", memory)


def _run(number: int, ended_before_s: float, status: str = "succeeded") -> Execution:
    return execution(number, started=-ended_before_s - 10, ended=-ended_before_s, status=status)


def asked() -> None:
    memory = world()
    memory.rules = replace(memory.rules, runbooks={"mail": runbook(mode=Mode.APPROVE)})
    advance(memory)
    keep("asked", memory)
    memory = world()
    memory.executions = [_run(n, 1000.0 + 300 * n, "failed") for n in (1, 2)]
    advance(memory)
    keep("asked-after-failures", memory)


def starting() -> None:
    memory = world(before=fails("run"))
    advance(memory)
    keep("starting", memory)


def running_to_recovered() -> None:
    memory = world()
    advance(memory)
    keep("running", memory)
    end(memory)
    memory.mail = lambda at: sighting(30, at=at, ids=NEW)
    advance(memory, Woken(), after_s=20.0)
    keep("verifying", memory)
    memory.mail = well
    for _ in range(4):
        advance(memory, Woken(), after_s=20.0)
    keep("recovered", memory)


def escalated() -> None:
    memory = world()
    memory.rules = replace(memory.rules, runbooks={"mail": runbook(limits=replace(runbook().limits, attempts=1))})
    advance(memory)
    end(memory)
    for _ in range(30):
        if memory.document(KEY).outcomes:
            break
        advance(memory, Woken(), after_s=30.0)
    keep("escalated", memory)


def held() -> None:
    memory = world(before=fails("history"))
    advance(memory)
    memory.before = lambda name: None
    memory.mail = well
    advance(memory, Woken(), after_s=20.0)
    keep("held", memory)
    memory = world()
    memory.pause()
    advance(memory)
    keep("holds", memory)
    write("pause", memory.bodies["pause"][0])


def untold() -> None:
    memory = world(before=fails("post"))
    memory.pause()
    advance(memory)
    keep("to-tell", memory)
    memory = world(before=fails("archive", "post"))
    memory.rules = replace(memory.rules, runbooks={"mail": runbook(restart=Restart("job-1"))})
    advance(memory)
    end(memory, "failed")
    advance(memory, Woken(), after_s=20.0)
    end(memory, "failed")
    for _ in range(3):
        advance(memory, Woken(), after_s=40.0)
        if memory.executions[0].runner_ended_at is None:
            end(memory, "failed")
    keep("to-archive", memory)


def bundle() -> None:
    memory = world()
    memory.put("storm", Storm(tuple(Slot(f"t{n}", NOW) for n in range(3))))
    write("storm", memory.bodies["storm"][0])
    cases = [
        Case(alert(fingerprint=f"fp-{n}"), runbook(), replace(TARGET, key=f"key-{n}", options={"service": f"s{n}"}), MAIL)
        for n in range(3)
    ]
    arrivals.notified(memory, cases, memory.budget())
    write("bundled", memory.bodies["key-0"][0])
    memory.clock += 21.0
    memory.before = fails("post")
    for n in range(3):
        flow.advance(memory, f"key-{n}", Woken(), memory.budget(60.0))
    name = next(key for key in memory.bodies if key.startswith("bundle"))
    keep("bundle", memory, name)


def wake_ups() -> None:
    os.environ["KEY"] = SIGNING_KEY
    keys = (SecretRef("env://KEY"),)
    memory = world(before=fails("load", "save"))
    arrivals.notified(memory, [Case(alert(), runbook(), TARGET, MAIL)], memory.budget())
    deferred_alerts = memory.wakes[-1][1]
    (TO / "wake-up-target.txt").write_text(wakeups.sign(keys, {"v": VERSION, "target": KEY}) + "\n")
    (TO / "wake-up-alerts.txt").write_text(wakeups.sign(keys, {"v": VERSION, **deferred_alerts}) + "\n")


for make in (deferred, waiting, asked, starting, running_to_recovered, escalated, held, untold, bundle, wake_ups):
    make()
