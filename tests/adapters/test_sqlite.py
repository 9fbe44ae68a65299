"""One SQLite file that several processes share: nobody's locks are lost."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

from functions.adapters.sqlite import opened
from tests.support.patience import PATIENCE_S

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


def test_many_threads_may_make_it_at_once(tmp_path):
    """All get the same file, readable by its owner only."""
    path, together, done = str(tmp_path / "new.db"), threading.Barrier(16, timeout=PATIENCE_S), []

    def use(number: int) -> None:
        together.wait()
        with opened("store", path, timeout_s=PATIENCE_S) as file:
            file.execute("INSERT INTO archive (path, body) VALUES (?, '')", (str(number),))
        done.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened("store", path, timeout_s=PATIENCE_S) as file:
        assert file.execute("SELECT count(*) FROM archive").fetchone() == (16,)
    assert sorted(done) == list(range(16))
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
