"""mypy refuses an adapter that lacks or misnames a method of its contract, at the line where it names its class."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from functions.application import ports
from functions.config.settings import adapter_names, load_adapter

ROOT = Path(__file__).parents[2]
CONTRACTS = {"runners": "Runner", "symptoms": "SymptomAdapter", "stores": "Store", "schedulers": "Scheduler", "chats": "Chat"}
BROKEN = {  # file: (what stands there, what a careless change makes of it)
    "symptoms/rabbitmq/__init__.py": ("def look_all", "def look_at_all"),
    "symptoms/prometheus/__init__.py": ("labels: Mapping[str, str], *, timeout_s: float", "labels: Mapping[str, str]"),
    "runners/rundeck/__init__.py": ("abort = ", "stop = "),
    "stores/local.py": ("def read_archived", "def read_record"),
    "schedulers/cloud_tasks.py": ("def wake(self, at: float", "def wake(self, at: str"),
    "chats/chatwork.py": ("def check(self", "def _check(self"),
}


def adapter_files() -> list[tuple[str, Path]]:
    """(kind, file that names the class) of each adapter."""
    files = []
    for kind in CONTRACTS:
        for name in adapter_names(kind):
            folder = ROOT / "functions" / "adapters" / kind
            files.append((kind, folder / name / "__init__.py" if (folder / name).is_dir() else folder / f"{name}.py"))
    return files


@pytest.mark.parametrize(("kind", "path"), adapter_files(), ids=lambda value: str(value).rpartition("adapters/")[2])
def test_each_adapter_names_its_class_with_its_contract(kind: str, path: Path):
    """Without the type at this line, mypy would compare the class with nothing."""
    assert re.search(rf"^ADAPTER: type\[{CONTRACTS[kind]}\] = \w+$", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in CONTRACTS for name in adapter_names(kind)])
def test_each_adapter_has_what_its_contract_asks_for(kind: str, name: str):
    """Says what is missing, where mypy only says that the class is wrong."""
    contract, adapter = vars(ports)[CONTRACTS[kind]], load_adapter(kind, name)
    members = [one for one in {**contract.__annotations__, **vars(contract)} if not one.startswith("_")]
    missing = [member for member in members if not hasattr(adapter, member)]
    for member in [one for one in members if inspect.isfunction(getattr(contract, one, None)) and one not in missing]:
        asked, given = (list(inspect.signature(getattr(one, member)).parameters.values()) for one in (contract, adapter))
        names = {one.name for one in asked if one.kind is one.KEYWORD_ONLY} - {one.name for one in given}
        is_late = any(one.kind is one.VAR_KEYWORD for one in given)  # then only mypy knows its arguments
        missing += [f"{one} of {member}" for one in sorted(names) if not is_late]
    assert not missing, f"{adapter.__name__} lacks {', '.join(missing)}"


@pytest.mark.long  # mypy without its cache takes ten seconds of a processor; by day `make lint` runs it on the adapters
def test_mypy_refuses_broken_adapters_and_no_others(tmp_path: Path):
    """As `make lint` does, with copies in place of some. All at once, since each run of mypy takes seconds."""
    shadows: list[str] = []
    for number, (name, (text, broken)) in enumerate(BROKEN.items()):
        path = ROOT / "functions" / "adapters" / name
        code = path.read_text(encoding="utf-8")
        assert text in code, name
        (tmp_path / f"{number}.py").write_text(code.replace(text, broken), encoding="utf-8")
        shadows += ["--shadow-file", str(path), str(tmp_path / f"{number}.py")]
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *shadows]
    files = [str(path) for _, path in adapter_files()]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
    refused = re.findall(r"adapters/(\S+?):\d+: error: Incompatible types in assignment .*type\[", done.stdout)
    assert sorted(refused) == sorted(BROKEN), done.stdout + done.stderr
