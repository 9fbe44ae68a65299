"""One broker for all processes of a test run: the first that needs it starts it, and it ends once nobody needs it any more.

with shared(folder, version) as made: ...
"""

import fcntl
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.broker.cluster import START_TIMEOUT_S, broker
from testbed.broker.node import Broker
from testbed.broker.versions import ROOT
from testbed.patience import wait_until


@contextmanager
def shared(folder: Path, version: str) -> Iterator[Broker]:
    """The broker of this folder, for as long as the block takes. Whoever comes while it ends waits, and gets a new one."""
    folder.mkdir(exist_ok=True)
    running = folder / "running"
    with (folder / "users").open("w") as users, (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not running.exists():
            # by a shell that ends at once: whoever comes first need not stay to the end
            command = ["sh", "-c", '"$@" &', "sh", sys.executable, "-m", "testbed.broker.shared", str(folder), version]
            with (folder / "log").open("wb") as log:
                subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
            wait_until(running.exists, what=(folder / "log").read_text, within_s=2 * START_TIMEOUT_S)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield pickle.loads(running.read_bytes())  # noqa: S301 - this program wrote it


def main(folder: Path, version: str) -> None:
    """Run the broker until the last user's lock is gone, however that user ended."""
    own = Path(tempfile.mkdtemp(dir=folder))
    with (folder / "users").open("w") as users, broker(own, version=version) as made:
        (folder / "written").write_bytes(pickle.dumps(made))
        (folder / "written").rename(folder / "running")
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "running").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
