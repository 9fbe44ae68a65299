"""Typed decoding from many threads at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from functions.domain.model.alerts import Alert
from functions.runtime.structs import convert
from testbed.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
ROUNDS = """
import importlib, sys, threading
from functions.domain.model import incidents as model
from functions.application.documents import decode, encode

sys.setswitchinterval(1e-6)
body = encode(model.Document("a"))

def use(together):
    together.wait()
    assert decode(model.Document, body, "a") == model.Document("a")

for _ in range(60):
    importlib.reload(model)  # classes that nobody has decoded by
    together = threading.Barrier(8)
    threads = [threading.Thread(target=use, args=(together,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all rounds done")
"""


def test_a_type_may_be_met_by_many_threads_at_once():
    """The first requests of a fresh process come together (msgspec alone crashes here); nobody gets a value of another form."""
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS], cwd=ROOT, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S
    )
    assert (done.returncode, done.stdout) == (0, "all rounds done\n"), done.stderr[-2000:]
    with pytest.raises(msgspec.ValidationError):
        convert([{"fingerprint": 7}], tuple[Alert, ...])
