"""A command from its start to its end, and whatever may cut that short."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from functions.adapters.runners.command import Job, runs, supervisor
from functions.runtime.errors import Denied
from testbed.patience import wait_until
from tests.adapters.runners.command.place import LIMIT_S, Place

ROOT = Path(__file__).parents[4]
STAYS = 'echo $$ >"$0/pid"; while [ ! -e "$0/go" ]; do sleep 0.05; done; echo done'
"""Runs until the test lets it go."""
TARGETS = 12


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, STAYS)


@pytest.mark.parametrize(
    ("script", "status", "lines"),
    [
        pytest.param("echo password=hunter2-of-a-database; echo; echo done", "succeeded", ("password=***", "done"), id="masked"),
        pytest.param("echo no luck; exit 4", "failed: exit 4", ("no luck",), id="fails"),
        pytest.param("", "failed: exit 127", ("/nowhere/restart-it: No such file or directory",), id="no such program"),
    ],
)
def test_an_end_says_how_it_came_with_the_last_lines(tmp_path, script, status, lines):
    place = Place(tmp_path, script, gone=Job(("/nowhere/restart-it",)))
    started = place.start(place.target(job="restart" if script else "gone"))
    ended, tail = place.until_ended(started)
    assert (ended.status, ended.failed, ended.url, tail) == (status, status != "succeeded", "", lines)


def test_the_command_gets_none_of_unsticks_secrets_and_stands_in_the_root_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RABBITMQ_PASSWORD", "of-the-broker")
    place = Place(tmp_path, "env | sort; pwd")
    _, tail = place.until_ended(place.start())
    assert {line.partition("=")[0] for line in tail[:-1]} == {"HOME", "LANG", "PATH", "PWD"}
    assert tail[-1] == "/"


GRANDCHILD = """
sh -c 'trap "" TERM; echo $$ >"$0/pid"; while :; do sleep 0.05; done' "$0" &
{trap}
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("trap", ["", 'trap "" TERM'], ids=["ends on SIGTERM", "ignores SIGTERM"])
def test_the_time_limit_ends_the_command_and_everything_that_it_started(tmp_path, trap):
    place = Place(tmp_path, GRANDCHILD.format(trap=trap), timeout_s=1.5)
    ended, _ = place.until_ended(place.start())
    assert (ended.status, ended.failed, ended.aborted_by) == ("timedout", True, "")
    assert (ended.runner_ended_at or 0) - (ended.runner_started_at or 0) >= 1.5 + bool(trap) * supervisor.KILL_AFTER_S
    place.until_gone(int(place.until("pid")))


ENDLESS = """
for i in 1 2 3 4 5; do
    head -c 3000000 /dev/zero | tr '\\0' x; echo
    while size=$(stat -c %s "$0"/unstick.db-runs/*.out); [ "$size" -gt {most} ] || [ "$size" -lt {least} ]; do sleep 0.05; done
    echo "$i"
done
"""


def test_the_output_keeps_its_end_and_can_not_fill_the_disk_with_the_store(tmp_path):
    """The command goes on printing only once the file is short again."""
    place = Place(tmp_path, ENDLESS.format(most=2 * runs.SHOWN_BYTES, least=runs.SHOWN_BYTES), timeout_s=20.0)
    ended, tail = place.until_ended(place.start())
    assert (ended.status, tail[-1]) == ("succeeded", "5")
    assert len(runs.read_output(place.runs, int(ended.id))) == runs.SHOWN_BYTES


def test_what_a_command_leaves_running_does_not_keep_its_run_open(tmp_path):
    """A script that starts a daemon, whose output nobody redirected."""
    place = Place(tmp_path, 'sh -c \'echo $$ >"$0/pid"; exec sleep 60\' "$0" & echo started')
    try:
        ended, tail = place.until_ended(place.start())
        assert (ended.succeeded, tail) == (True, ("started",))
    finally:
        os.kill(int(place.until("pid")), signal.SIGKILL)


def test_a_start_is_never_made_twice(tmp_path):
    """Whoever sends the tag again, at whatever time, starts nothing."""
    place = Place(tmp_path, 'echo x >>"$0/count"')
    place.until_ended(place.start(tag="incident.1"))
    with pytest.raises(Denied, match="made before"):
        place.start(tag="incident.1")
    assert (tmp_path / "count").read_text() == "x\n"


def test_a_history_from_before_the_hosts_were_kept_goes_on(tmp_path):
    place = Place(tmp_path)
    place.until_ended(place.start())
    place.change("ALTER TABLE runs DROP COLUMN host")
    assert place.until_ended(place.start())[0].succeeded


START = """
import sys, time
from pathlib import Path
from tests.adapters.runners.command.place import Place
from functions.runtime.errors import Denied
place, number = Place(Path(sys.argv[1]), sys.argv[2]), sys.argv[4]
(place.folder / f"ready-{number}").touch()
while not (place.folder / "now").exists():
    pass
for target in range(int(sys.argv[3])):
    try:
        place.start(place.target(f"service-{target}"), tag=f"incident-{target}.{number}")
        print(target, flush=True)
    except Denied as denied:
        assert denied.code == "busy", denied
"""


def test_of_several_processes_that_start_at_once_one_does(tmp_path):
    """For each target; the processes go through the targets side by side, and the other targets' runs go on meanwhile."""
    start = [sys.executable, "-c", START, tmp_path, STAYS, str(TARGETS)]
    starters = [subprocess.Popen([*start, str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True) for number in range(4)]
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == len(starters), what=lambda: "the processes")
    (tmp_path / "now").touch()
    started = [line for process in starters for line in process.communicate()[0].split()]
    (tmp_path / "go").touch()
    place = Place(tmp_path, STAYS)
    runs = [place.look(target=place.target(f"service-{number}")).executions for number in range(TARGETS)]
    assert sorted(started) == sorted(map(str, range(TARGETS)))
    assert [len(executions) for executions in runs] == [1] * TARGETS


def test_a_command_whose_supervisor_was_killed_still_runs(place):
    """Nothing else is started until it ends; then nobody knows how far it came."""
    started = place.start()
    place.until("pid")
    os.kill(place.supervisor(started), signal.SIGKILL)
    assert not place.look(started).followed.ended
    with pytest.raises(Denied, match="already running"):
        place.start(tag="another.1")
    (place.folder / "go").touch()
    assert place.until_ended(started)[0].status == "lost"


def test_a_run_whose_journal_somebody_removed_is_lost_and_not_void(place):
    """I1: it may still be running, so nobody may call it never begun, and it counts as a restart."""
    started = place.start()
    assert place.look(started).executions
    (place.runs / f"{started.id}.jsonl").unlink()
    ended, _ = place.until_ended(started)
    assert (ended.status, ended.abandoned, ended.failed) == ("lost", True, True)
    assert place.look(started).followed == ended


def test_a_history_that_was_lost_leaves_no_end_for_a_new_run(tmp_path):
    """The numbers begin anew, and the old journals say how other runs ended."""
    place = Place(tmp_path, 'echo "$(cat "$0/word")"')
    (tmp_path / "word").write_text("before")
    place.until_ended(place.start())
    for file in tmp_path.glob("unstick.db*"):
        if file.is_file():
            file.unlink()
    (tmp_path / "word").write_text("after")
    started = place.start()
    assert (started.id, place.until_ended(started)[1]) == ("1", ("after",))


def claimed(place: Place, *, not_after_s: float) -> int:
    """What a crash right after the commit leaves."""
    not_after = time.time() + not_after_s
    return runs.claim(place.command.path, place.target(), tag="crash.1", not_after=not_after, timeout_s=LIMIT_S)


def test_a_start_that_a_crash_cut_off_blocks_others_until_it_can_no_longer_begin(tmp_path):
    place = Place(tmp_path, 'touch "$0/ran"')
    run = claimed(place, not_after_s=30.0)
    runs.create_order(place.runs, run, ["sh", "-c", f"touch {tmp_path}/ran"], time.time() + 30, 10.0)
    assert place.look().executions == ()
    with pytest.raises(Denied, match="already running"):
        place.start()
    place.change("UPDATE runs SET not_after = not_after - 60, created_at = created_at - 60")
    assert place.look().executions == ()
    assert not list(place.runs.iterdir()), "void"
    for order in ("", f'{{"argv": ["touch", "{tmp_path}/ran"], "not_after": null, "timeout_s": 9}}\n{{"void": 1}}\n'):
        if order:  # it had opened the journal before that was removed
            (place.runs / f"{run}.jsonl").write_text(order)
        subprocess.run([sys.executable, "-I", "-S", supervisor.__file__, place.runs, str(run)], check=True)
    assert not (tmp_path / "ran").exists()
    assert place.until_ended(place.start())[0].succeeded


def test_a_start_without_an_order_is_void_too(tmp_path):
    """The crash came between the commit and the order."""
    place = Place(tmp_path)
    claimed(place, not_after_s=-60.0)
    place.change("UPDATE runs SET created_at = created_at - 60")
    place.runs.mkdir()
    assert place.until_ended(place.start())[0].succeeded


def test_evidence_is_collected_any_number_at_a_time_and_read_so_far(place):
    read = partial(place.command.read_evidence, timeout_s=LIMIT_S)
    tags = ("incident-1.evidence", "incident-2.evidence")
    started = [place.command.start_evidence("restart", {}, tag=tag, timeout_s=LIMIT_S) for tag in tags]
    for run in started:
        assert read(run.id, partial=False) == (run, None)
        assert read(run.id, partial=True)[1] is not None
    (place.folder / "go").touch()
    for run in started:
        wait_until(partial(read, run.id, partial=False), lambda run: run[1])
    assert read("99", partial=False) == (None, None)


def test_runs_older_than_any_limit_looks_back_are_forgotten_with_their_files(tmp_path):
    place = Place(tmp_path)
    old = place.start()
    place.until_ended(old)
    place.change(f"UPDATE runs SET ended_at = ended_at - {runs.KEPT_S}")  # noqa: S608 - our own number
    new = place.start()
    place.until_ended(new)
    assert {file.name.partition(".")[0] for file in place.runs.iterdir()} == {new.id}
    assert [run.id for run in place.look(old).executions] == [new.id]
