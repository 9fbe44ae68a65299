"""Plays the applications of tests/system/town on this machine's RabbitMQ, and writes the part of docs/benchmarks.md about them."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.parts import APPLICATIONS, write_part
from testbed import broker as brokers
from testbed.broker import PLUGINS, free_ports
from testbed.debian import ensure
from tests.system.town.healthy import HEALTHY
from tests.system.town.play import LIMIT_S, Line, town
from tests.system.town.protocols import PROTOCOLS, SPOKEN, listener
from tests.system.town.scene import Truth
from tests.system.town.stuck import STUCK

MINUTES = 4.0
FOR_S = 60.0
KINDS = {
    Truth.HEALTHY: "healthy: slow, in bursts, in batches, being deployed, with long jobs, dead-letter queues",
    Truth.STUCK: "stuck: held, given nothing, consumer gone",
    Truth.ONE: "one worker of several hangs",
    Truth.LIKELY: "stuck, but some healthy applications look the same: restarted, or a person is asked",
    Truth.TELL: "stuck, but a restart would not help",
}


def measure() -> None:
    """Play them for MINUTES and write the part."""
    ensure("rabbitmq-server")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        running = brokers.broker(Path(folder) / "broker", plugins=(*PLUGINS, *SPOKEN), lines=(listener(port),))
        with running as made, town([made], HEALTHY + STUCK + PROTOCOLS, Path(folder) / "unstick", mqtt_port=port) as played:
            version = made.api("GET", "overview")["rabbitmq_version"]
            time.sleep(MINUTES * 60)
            lines = played.lines()
    write_part(APPLICATIONS, section(lines, version))
    print(*lines, sep="\n", flush=True)


def section(lines: list[Line], version: str) -> str:
    """The part of the page, with its heading."""
    rows = [_row(truth, [line for line in lines if line.pattern.truth is truth]) for truth in KINDS]
    wrong = [
        f"- {line.pattern.name} ({line.pattern.says}): {line.verdict}, {line.seconds:.1f} s" for line in lines if not line.right
    ]
    return "\n".join(
        [
            APPLICATIONS,
            "",
            f"{len(lines)} applications at once on a real RabbitMQ {version}, with an alert for each queue that isn't empty, in `mode: auto` with"
            f" `for: {FOR_S:g}s`, for {MINUTES:g} minutes (`make town` lists them). Times count from when the application got stuck.",
            "",
            "| applications | number | restarted | median | slowest | promised |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            *(["Not as promised:", "", *wrong, ""] if wrong else []),
            f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores.",
            "",
        ]
    )


def _row(truth: Truth, lines: list[Line]) -> str:
    restarted = [line for line in lines if line.restarts]
    seconds = [line.seconds for line in lines if line.seconds is not None]
    times = [f"{median(seconds):.1f} s", f"{max(seconds):.1f} s"] if seconds else ["", ""]
    promised = f"{FOR_S + LIMIT_S[truth]:g} s" if truth in LIMIT_S else "no restart"
    return f"| {KINDS[truth]} | {len(lines)} | {len(restarted)} | {times[0]} | {times[1]} | {promised} |"
