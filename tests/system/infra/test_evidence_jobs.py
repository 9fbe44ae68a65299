"""The evidence jobs of infra/rundeck, really run against processes that hang, with their options filled in as Rundeck does it."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from functions.domain.texts.patterns import mask
from functions.domain.texts.words import choose_lines
from testbed.doubles import server
from testbed.doubles.rundeck import INCIDENT
from tests.support.jobs import FOLDER, definition, run, until_shown
from tests.support.needs import need

JOBS = sorted(FOLDER.glob("evidence-*.yaml"))
HANGS = """
    import socket

    def read_reply(relay):
        return relay.recv(4096)

    def deliver():
        with socket.create_connection(("127.0.0.1", PORT)) as relay:
            read_reply(relay)

    deliver()
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the scripts ask sudo for another user's process")

Hang = Callable[[str, str, list[str]], "subprocess.Popen[bytes]"]


@pytest.fixture
def silent_relay(free_port) -> Iterator[int]:
    """A server that accepts and never says a word."""
    import socket

    with socket.create_server(("127.0.0.1", free_port())) as silent:
        yield silent.getsockname()[1]


@pytest.fixture
def hang(tmp_path: Path, silent_relay: int) -> Iterator[Hang]:
    """Start a program that waits for the relay for ever."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, program: str, command: list[str]) -> subprocess.Popen[bytes]:
        path = tmp_path / name
        path.write_text(textwrap.dedent(program).replace("PORT", str(silent_relay)))
        started.append(subprocess.Popen([*command, str(path)]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@needs_root
def test_the_process_job_shows_where_it_waits_and_for_whom(hang: Hang, tmp_path: Path, silent_relay: int):
    """The kernel's function, and the connection with how long it has been silent."""
    process = hang("mail_worker.py", HANGS, [sys.executable])
    result = until_shown("lastrcv:", "evidence-process.yaml", process=f"{tmp_path.name}/mail_worker.py")
    assert result.returncode == 0
    first, *connections = choose_lines(mask(result.stdout))
    assert first.startswith(f"thread {process.pid}")
    assert f"127.0.0.1:{silent_relay}" in connections[0]
    assert "lastrcv:" in connections[1]
    assert "State:" in result.stdout
    assert "fd 1 ->" in result.stdout


FORGES = """
    import ctypes, sys, time
    ctypes.CDLL(None).prctl(15, b"a\\n>> forged", 0, 0, 0)
    time.sleep(600)
"""


@needs_root
def test_a_process_forges_no_line_of_the_evidence(tmp_path: Path):
    """Its arguments and its threads' names may contain line breaks; what the chat shows is the job's own."""
    program = tmp_path / "mail_worker.py"
    program.write_text(textwrap.dedent(FORGES))
    started = subprocess.Popen([sys.executable, str(program), "x\n>> all is well"])
    try:
        result = until_shown("forged", "evidence-process.yaml", process=f"{tmp_path.name}/mail_worker.py")
    finally:
        started.kill()
        started.wait()
    assert [line for line in result.stdout.splitlines() if line.startswith((">> all", ">> forged"))] == []


@pytest.mark.parametrize("name", ["evidence-place.yaml", "evidence-process.yaml"])
def test_a_node_without_the_process_is_no_failure(name: str):
    """The job runs on every node of its filter; one of them has the process."""
    result = run(name, process="no-such-process-anywhere")
    assert result.returncode == 0
    assert result.stdout.startswith("no process matches on ")


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_each_file_keeps_what_unstick_relies_on(path: Path):
    """The tag, a time-out, several runs at once, options that a script may contain, and a line in the policy."""
    job = definition(path.name)
    assert (job["name"], job["timeout"], job["multipleExecutions"]) == (path.stem, "1m", True)
    assert INCIDENT in [option["name"] for option in job["options"]]
    assert all(option["regex"].startswith("^") and "'" not in option["regex"] for option in job["options"])
    policy = next(yaml.safe_load_all((FOLDER / "unstick.aclpolicy").read_text()))
    rule = next(rule for rule in policy["for"]["job"] if "match" in rule)
    assert re.fullmatch(rule["match"]["name"], path.stem)
    assert rule["allow"] == ["read", "run"]


NEEDED = {
    "evidence-process.yaml": ["cat /proc/7/stack", "cat /proc/7/task/8/wchan", "ls -l /proc/7/fd", "ss -Htianp"],
    "evidence-systemd.yaml": [
        "cat /proc/7/stack", "cat /proc/7/task/8/wchan", "ls -l /proc/7/fd", "ss -Htianp",
        "journalctl --no-pager --lines 100 --output short-iso --unit mail-delivery.service",
    ],
    "evidence-place.yaml": [
        "timeout 5 py-spy dump --json --pid 7", "cat /proc/7/task/8/syscall", "ls -l /proc/7/fd", "timeout 5 jstack -l 7",
    ],
}  # fmt: skip
TOO_MUCH = (
    "cat /proc/../etc/shadow", "cat /proc/7/stack /etc/shadow", "cat /proc/7/environ", "cat /proc/7/cwd/etc/shadow",
    "ls -l /proc/../root", "ls -l /proc/7/fd /root", "journalctl", "journalctl --file /etc/shadow",
    "journalctl --no-pager --lines 100 --output short-iso --unit a.service --vacuum-size=1",
    "timeout 5 py-spy dump --json --pid 7 --locals", "timeout 5 jstack -l -J-agentpath:/tmp/a.so 7", "timeout 5 sh",
)  # fmt: skip


def allows(rule: str, called: str) -> bool:
    """Whether sudo lets it through: arguments in `^...$` are a regular expression, others words with wildcards."""
    (path, _, arguments), (program, _, given) = rule.partition(" "), called.partition(" ")
    if path.rpartition("/")[2] != program:
        return False
    if arguments.startswith("^") and arguments.endswith("$"):
        return re.fullmatch(arguments[1:-1], given) is not None
    return not arguments or fnmatch.fnmatchcase(given, arguments)


@pytest.mark.parametrize("path", [path for path in JOBS if path.name in NEEDED], ids=lambda path: path.name)
def test_the_rights_for_sudo_are_no_more_than_the_script_needs(path: Path):
    """A * of sudoers stands for spaces and slashes, too: `cat /proc/*` read /etc/shadow, `jstack -l *` loaded any library."""
    (step,) = definition(path.name)["sequence"]["commands"]
    rules = ", ".join(re.findall(r"# rundeck ALL=\(\w+\) NOPASSWD: (.*)", step["script"]))
    for called in NEEDED[path.name]:
        assert any(allows(rule, called) for rule in rules.split(", ")), called
    for called in TOO_MUCH:
        assert not any(allows(rule, called) for rule in rules.split(", ")), called


ANSWERS: dict[str, Any] = json.loads(Path(__file__).with_name("kubernetes.json").read_text(encoding="utf-8"))
"""What the API answers to GET, by path."""
PODS = "/api/v1/namespaces/prod/pods"


class Cluster(server.Handler):
    """One deployment with one pod. `asked` has what was changed."""

    asked: ClassVar[list[tuple[str, str]]] = []
    gone = False

    def answer(self) -> None:
        path, _, query = self.path.partition("?")
        if self.command == "POST":  # to run py-spy in the pod, whose image has none
            return self.reply(501)
        if self.command != "GET":
            return self.change(path)
        if path.endswith("/log"):
            return self.reply(200, b"it crashed before\n>> forged\n", "text/plain")
        is_there = not Cluster.gone and ("labelSelector=app%3Dmail" in query or "watch" in query)
        if path == PODS and not is_there:
            return self.reply(200, ANSWERS[PODS] | {"items": []})
        if path not in ANSWERS or (Cluster.gone and path.startswith(PODS)):
            return self.reply(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
        return self.reply(200, ANSWERS[path])

    def change(self, path: str) -> None:
        self.sent()
        Cluster.asked.append((self.command, path.rpartition("/namespaces/prod/")[2]))
        Cluster.gone = Cluster.gone or self.command == "DELETE"
        self.reply(200, ANSWERS[path])


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs the last step of a job with kubectl in an empty home, its options filled in."""
    if shutil.which("kubectl") is None:
        need("kubernetes-client")
    Cluster.asked, Cluster.gone = [], False
    with server.Serving(Cluster) as serving:
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": serving.url}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        }  # fmt: skip
        (tmp_path / "config").write_text(json.dumps(config))

        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        yield lambda job, host: run(job, namespace="prod", deployment="mail", host=host)


@pytest.mark.parametrize(
    ("host", "asked", "status"),
    [(".*", [("PATCH", "deployments/mail")], 0), ("10.0.3.7", [("DELETE", "pods/mail-1")], 0), ("10.0.3.8", [], 4)],
    ids=["all", "the pod that hangs", "a pod that is gone"],
)
def test_a_deployment_or_its_one_pod_is_restarted(kubernetes, host: str, asked: list[tuple[str, str]], status: int) -> None:
    """And nothing else: an IP that is none of the deployment's own pods is reported."""
    done = kubernetes("job-kubernetes.yaml", host)
    assert (Cluster.asked, done.returncode) == (asked, status), done.stdout + done.stderr
    assert status or "successfully rolled out" in done.stdout


@pytest.mark.parametrize("host", ["10.0.3.7", ""])
def test_evidence_of_a_pod_changes_nothing(kubernetes, host: str) -> None:
    """It goes on where the image has no py-spy, which is what this stand-in says."""
    done = kubernetes("evidence-kubernetes.yaml", host)
    assert (done.returncode, Cluster.asked) == (0, []), done.stdout + done.stderr
    assert ">> pod mail-1" in done.stdout
    assert "it crashed before" in done.stdout
    assert "container mail: image mail:1, 3 restarts, ready false, running, before that terminated (OOMKilled)" in done.stdout
    assert "condition Ready: False (ContainersNotReady)" in done.stdout
    assert 'Warning BackOff: ">> restart everything"' in done.stdout
    assert "kept-to-itself" not in done.stdout, "the value of an environment variable"
    assert [line for line in choose_lines(done.stdout) if "forged" in line or "everything" in line] == []
