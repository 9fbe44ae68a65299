"""The scripts of infra/rundeck/park.yaml and return.yaml, run with the options filled in as Rundeck does it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from testbed.broker import Broker
from testbed.patience import PATIENCE_S

FOLDER = Path(__file__).parents[3] / "infra" / "rundeck"
PARKER = ("unstick-park", "moves-what-hangs")


def grant(made: Broker) -> None:
    """The account that park.yaml names, which may do what it says and no more."""
    made.add_user(*PARKER, tags="policymaker")
    made.api("PUT", f"permissions/%2F/{PARKER[0]}", {"configure": r"\.parked$", "write": "^$", "read": "^$"})


def script_of(job: str) -> str:
    steps: list[dict[str, Any]] = yaml.safe_load((FOLDER / f"{job}.yaml").read_text())[0]["sequence"]["commands"]
    return str(steps[-1]["script"])


def run_job(
    job: str,
    made: Broker,
    folder: Path,
    options: Mapping[str, str],
    *,
    stop: Sequence[str] = ("true",),
    start: Sequence[str] = ("true",),
    limit_s: int = 60,
    shown_late: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Its last step. `options`: vhost, queue and messages. The file `begun` is there once the shovel is. While there is a file
    `hold`, the step waits at that place.

    `shown_late`: the broker does not show the new shovel at once: 4.3 did not in 8 of 150.
    """
    config = folder / "park.json"
    config.write_text(json.dumps({"api": made.url, "user": PARKER[0], "password": PARKER[1]}))
    script = script_of(job).replace("/etc/unstick-park.json", str(config)).replace("@job.execid@", options["queue"])
    for option, value in options.items():
        script = script.replace(f"@option.unstick_{option}@", value)
    script = script.replace("LATE_S, LIMIT_S = 6, 120", f"LATE_S, LIMIT_S = 6, {limit_s}")
    script = re.sub(r"STOP = \[.*", f"STOP = {list(stop)!r}", script)
    script = re.sub(r"START = \[.*", f"START = {list(start)!r}", script)
    begun = f"open({str(folder / 'begun')!r}, 'w').close(); "
    begun += f"[time.sleep(0.05) for _ in iter(lambda: __import__('os').path.exists({str(folder / 'hold')!r}), False)]; "
    script = script.replace('wait("the shovel', f'{begun}wait("the shovel', 1)
    if shown_late:
        late = "    if not asked:\n        return asked.append(1) or True\n"
        script = script.replace("def is_over():\n", f"def is_over(asked=[]):\n{late}")
    file = folder / f"{job}.py"
    file.write_text(script)
    return subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False, timeout=5 * PATIENCE_S)
