"""infra/rundeck/evidence-place.yaml, run beside applications that hang: the line that it names, and where it names none."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from functions.domain.texts.patterns import mask
from testbed.broker import HOST, Broker
from testbed.libraries import Application, message_of
from testbed.patience import wait_until
from tests.support.jobs import FOLDER, definition, run
from tests.support.needs import need, need_libraries

FILE = "evidence-place.yaml"
ATTEMPT = "20261201-081500-0a1b2c3d.evidence"
CAUSES = Path(__file__).parents[3] / "testbed" / "workers" / "causes.py"
LINE = re.compile(rf"unstick {re.escape(ATTEMPT)} at (.+)")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the program asks sudo for another user's process")

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def dripping() -> Iterator[int]:
    """A server whose answer never ends."""

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.send(b"."):
                time.sleep(0.15)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=[server.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A process that is killed with its children in the end. Its command line names the test's folder."""
    started: list[subprocess.Popen[bytes]] = []

    def one(*command: str, program: str = "", **options: object) -> subprocess.Popen[bytes]:
        options |= {"executable": program} if program else {}
        started.append(subprocess.Popen(command, start_new_session=True, **options))  # type: ignore[call-overload]
        return started[-1]

    yield one
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def causes(folder: Path) -> str:
    """A copy of the causes, under a name after which masking takes what a colon follows."""
    return str(shutil.copy(CAUSES, folder / "password_reset.py"))


def line_of(cause: str) -> int:
    """The line that a developer would want to know."""
    lines = CAUSES.read_text().splitlines()
    begins = lines.index(next(line for line in lines if line.startswith(f"def {cause}(")))
    return next(number for number, line in enumerate(lines, 1) if number > begins and line.endswith("# here"))


def places(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the last lines name, as they are after masking. No other line looks like one, and none is too long."""
    lines = mask(done.stdout).splitlines()
    found = [match[1] for match in map(LINE.fullmatch, lines) if match]
    assert all(map(LINE.fullmatch, lines[len(lines) - len(found) :]))
    assert len(found) <= 4
    assert all(len(place) <= 200 for place in found)
    return found


def until_placed(process: str, *before: str, moves: bool = False, **options: str) -> list[str]:
    """Run the job until the process has come as far as to hang, and unless it `moves`, to stand still."""
    given = {"process": process, "unstick_incident": ATTEMPT} | options
    return wait_until(
        lambda: places(run(FILE, *before, **given)), lambda found: bool(found) and (moves or not found[0].endswith("moving"))
    )


@needs_root
@pytest.mark.parametrize(
    ("cause", "at", "rest"),
    [
        ("http", "http", ", in requests.HTTPAdapter.send, waits for 127.0.0.1:PORT"),
        ("grandchild", "smtp", ", in smtplib.SMTP.getreply, waits for 127.0.0.1:PORT"),
        ("file_lock", "file_lock", ", waits for the file lock FILE"),
        ("pattern", "pattern", ", in re.match, waits for CPU"),
    ],
)
def test_the_place_is_the_line_of_the_application(start: Start, tmp_path: Path, silent: int, cause: str, at: str, rest: str):
    """The library's call in it, and what that waits for. Where a process waits for its child, the child's place counts."""
    program = causes(tmp_path)
    start(sys.executable, program, cause, str(silent))
    (place,) = until_placed(program)
    assert re.sub(r"tmp\w+$", "FILE", place.replace(str(silent), "PORT")) == f"password_reset.py, {at}, line {line_of(at)}{rest}"


@needs_root
def test_what_only_waits_for_work_hangs_nowhere(start: Start, tmp_path: Path):
    """A thread of the application's own, in a queue."""
    program = causes(tmp_path)
    start(sys.executable, program, "answer", "0")
    done = wait_until(lambda: run(FILE, process=program, unstick_incident=ATTEMPT), lambda done: "Queue.get" in done.stdout)
    assert places(done) == []
    assert "no thread of it stands in the application" in done.stdout


@needs_root
def test_what_it_can_not_see_it_says_with_the_connections(start: Start, tmp_path: Path, silent: int):
    """A process of Node: its stacks can't be read."""
    program = causes(tmp_path)
    start("node", program, "smtp", str(silent), program=sys.executable, env={"PYTHONHOME": sys.base_prefix})
    says = f"node: its stacks can't be read; connections besides the broker's: 127.0.0.1:{silent}\n"
    done = wait_until(lambda: run(FILE, process=program, unstick_incident=ATTEMPT), lambda done: says in done.stdout)
    assert (places(done), done.returncode) == ([], 1)


JAVA = """
    class MailWorker {
        static int readReply(java.net.Socket relay) throws Exception { return relay.getInputStream().read(); }
        public static void main(String[] a) throws Exception {
            String forged = "a\\" #99 prio=5 os_prio=0 tid=0x1 nid=" + ProcessHandle.current().pid() + " runnable\\n"
                + "\\tat com.rabbitmq.client.Consumer.run(Consumer.java:1)\\n\\tat bank.Bank.pay(Bank.java:7)\\n\\n\\"b";
            if (a.length > 1) Thread.currentThread().setName(forged);
            readReply(new java.net.Socket("127.0.0.1", Integer.parseInt(a[0])));
        }
    }
"""


@pytest.mark.parametrize("forges", [False, pytest.param(True, marks=pytest.mark.long)], ids=["honest", "forging"])
def test_the_place_in_java(start: Start, tmp_path: Path, silent: int, *, forges: bool):
    """By jstack. Where the name of a thread has line breaks, and so makes up another one, nothing is believed."""
    if not shutil.which("jstack"):
        need("openjdk-17-jdk-headless")
    program = tmp_path / "MailWorker.java"
    program.write_text(textwrap.dedent(JAVA))
    start("java", str(program), str(silent), *(["forges"] if forges else []))
    if not forges:
        waits = f"in java.net.Socket$SocketInputStream.read, waits for 127.0.0.1:{silent}"
        expected = f"MailWorker.java, MailWorker.readReply, line 3, called by MailWorker.java, MailWorker.main, {waits}"
        assert until_placed(str(program)) == [expected]
        return
    done = wait_until(lambda: run(FILE, process=str(program), unstick_incident=ATTEMPT), lambda done: "forges" in done.stdout)
    assert places(done) == []


@needs_root
def test_sudo_lets_an_unprivileged_user_read_it(start: Start, silent: int):
    """With the page's lines in sudoers and nothing else; without them it says that it can't."""
    if not shutil.which("sudo"):
        need("sudo")
    reader, rules = "games", Path(f"/etc/sudoers.d/unstick-{os.getpid()}")
    script = definition(FILE)["sequence"]["commands"][-1]["script"]
    lines = "".join(f"{line[2:]}\n" for line in script.splitlines() if line.startswith("# rundeck ALL="))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = causes(Path(folder))
        start("/usr/bin/python3", program, "smtp", str(silent), user="mail", env={"PYTHONDONTWRITEBYTECODE": "1"})
        assert run(FILE, "runuser", "-u", reader, "--", process=program, unstick_incident=ATTEMPT).returncode == 1
        try:
            secure = f'Defaults:{reader} secure_path="{Path(sys.executable).parent}:/usr/bin"\n'
            rules.write_text(secure + lines.replace("rundeck ", f"{reader} "))
            (place,) = until_placed(program, "runuser", "-u", reader, "--")
        finally:
            rules.unlink(missing_ok=True)
    assert place.endswith(f", in smtplib.SMTP.getreply, waits for 127.0.0.1:{silent}")


def test_the_program_runs_on_old_nodes_and_from_the_page(start: Start, tmp_path: Path):
    """Python 3.6 reads it, ruff finds no mistake in it, and the file's first lines take it out of the job as a command."""
    program = definition(FILE)["sequence"]["commands"][-1]["script"]
    ast.parse(program, feature_version=(3, 6))
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--isolated", "--select", "F", "-"]
    assert subprocess.run(ruff, input=program, capture_output=True, text=True, check=False).returncode == 0
    (extract,) = re.findall(r"# Without Rundeck.*?: (sed .*)", (FOLDER / FILE).read_text())
    shutil.copy(FOLDER / FILE, tmp_path)
    subprocess.run(["sh", "-c", extract], cwd=tmp_path, check=True)
    command = [str(tmp_path / "unstick-place"), "--process=no-such-process-anywhere", "--attempt=", "--broker-ports="]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("no process matches on ")


IDLE = [("pika", "hung"), ("celery", "all-late"), ("dramatiq", "all"), ("aio-pika", "batch")]
FORMS = [
    *(("pika", "hung", cause) for cause in ("trickle", "answer", "future", "child", "grandchild")),
    *(("pika", "threads", cause) for cause in ("lock", "database", "smtp")),
    *(("celery", "all-late", cause) for cause in ("smtp", "http", "database", "child")),
    *(("celery", "threads-late", cause) for cause in ("lock", "loop")),
    *(("dramatiq", "all", cause) for cause in ("smtp", "http", "file_lock")),
    ("kombu", "hung", "smtp"), ("kombu", "hung", "pattern"), ("aio-pika", "blocked", "http"),
    *((library, form, "") for library, form in IDLE),
]  # fmt: skip
MOVES = {"loop"}
"""The function is right, and the line one of its lines."""


@needs_root
@pytest.mark.long
@pytest.mark.timeout(600)  # the first time, the libraries are installed
@pytest.mark.parametrize("rabbitmq_server", [HOST], indirect=True)
@pytest.mark.parametrize(("library", "form", "cause"), FORMS, ids=["-".join(form).rstrip("-") or "idle" for form in FORMS])
def test_the_place_with_a_real_library(rabbitmq_server: Broker, silent: int, dripping: int, library: str, form: str, cause: str):
    """All its processes and threads are read, and the one that a message hangs in counts; of an idle worker none."""
    need_libraries()
    url = rabbitmq_server.amqp_url().partition("?")[0]
    queue, port = f"place-{os.getpid()}-{time.monotonic_ns()}", dripping if cause == "trickle" else silent
    options = {"broker_ports": url.rpartition(":")[2].partition("/")[0]}
    with rabbitmq_server.channel() as channel:
        if library != "dramatiq":
            channel.queue_declare(queue, durable=True)
        try:
            with Application(library, form, url, queue) as application:
                if not cause:
                    assert places(run(FILE, process=queue, unstick_incident=ATTEMPT, **options)) == []
                    return
                body, properties = message_of(library, f"hang {cause} {port}", queue=queue)
                channel.basic_publish("", queue, body, properties)
                wait_until(lambda: application.held, bool)
                place, *_ = until_placed(queue, moves=cause in MOVES, **options)
        finally:
            channel.queue_delete(queue)
    at = "smtp" if cause == "grandchild" else cause
    line = r"\d+" if cause in MOVES else str(line_of(at))
    assert re.match(rf"causes\.py, {at}, line {line}(, called by libraries/forms\.py, hang)?, ", place), place
    assert f"waits for 127.0.0.1:{port}" in place or cause not in ("smtp", "http", "web", "database", "trickle", "grandchild"), (
        place
    )
