"""One SQLite file that several processes share: nobody's locks are lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from functions.adapters.sqlite import opened
from testbed.patience import PATIENCE_S

ANOTHER = "import sqlite3, sys; file = sqlite3.connect(sys.argv[1]); file.execute('DELETE FROM sweeps'); file.close()"


def test_another_process_never_takes_itself_for_the_last_one(tmp_path):
    """Closing any descriptor of a file drops all of a process's locks on it (POSIX). SQLite's own are kept all the same, else
    another process would throw away the journal that this one still writes, and the file would be damaged.
    """
    path = str(tmp_path / "shared.db")
    with opened("store", path, timeout_s=PATIENCE_S):
        for _ in range(2):
            with opened("store", path, timeout_s=PATIENCE_S) as file:
                file.execute("INSERT OR REPLACE INTO sweeps (one, next_at) VALUES (1, 0)")
        subprocess.run([sys.executable, "-c", ANOTHER, path], check=True)
        assert Path(path + "-wal").exists()
    assert not Path(path + "-wal").exists()
