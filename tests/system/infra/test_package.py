"""The archive of the functions."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from functions import __version__

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"


def package(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(INFRA / "package.py"), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the example."""
    to = tmp_path_factory.mktemp("package") / "a.zip"
    done = package("--config", str(INFRA / "unstick.cloud.yaml"), "--to", str(to))
    assert done.returncode == 0, done.stderr
    assert f"Unstick {__version__}" in done.stdout, "so a rollback can say what it goes back to"
    return to


def test_the_archive_has_the_same_bytes_each_time_and_only_what_the_function_needs(archive: Path, tmp_path: Path) -> None:
    """A plan without a change of the program is empty; tests and infrastructure are not deployed."""
    config, to = tmp_path / "mine.yaml", tmp_path / "a.zip"
    config.write_bytes((INFRA / "unstick.cloud.yaml").read_bytes())
    os.utime(config, (1e9, 1e9))
    assert package("--config", str(config), "--to", str(to)).returncode == 0
    assert to.read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(to) as file:
        names = file.namelist()
        assert file.read("unstick.yaml") == config.read_bytes() == (tmp_path / "a.zip.yaml").read_bytes()
        assert f'__version__ = "{__version__}"' in file.read("functions/__init__.py").decode()
    assert {
        "main.py", "requirements.txt", "functions/domain/model/alerts.py", "functions/adapters/stores/cloud_storage.py",
    } <= set(names)  # fmt: skip
    assert {name.split("/")[0] for name in names} == {
        "main.py", "requirements.txt", "unstick.yaml", "unstick.checked.json", "functions",
    }  # fmt: skip
    suffixes = {name.rpartition(".")[2] for name in names if name.startswith("functions/")}
    assert suffixes == {"py", "mo", "html", "css", "js", "json"}
    assert not {f"functions/{name}.py" for name in ("config/loader", "config/validation")} & set(names)


def test_what_is_in_the_archive_serves(archive: Path, tmp_path: Path) -> None:
    """Nothing that a request can reach is missing: every module in it can be imported, without what reads unstick.yaml; pages and
    the tokens of services are data beside them."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "app")
        names = [name.removesuffix(".py").replace("/", ".") for name in file.namelist() if name.endswith(".py")]
    code = (
        "import importlib, sys; sys.modules['jsonschema'] = sys.modules['rich'] = sys.modules['apprise'] = None\n"
        f"for name in {[name.removesuffix('.__init__') for name in names]}: importlib.import_module(name)\n"
        "from functions.bootstrap import current_config; print(current_config().runner.name)\n"
        "from functions.entrypoints.people.pages import show_opening; print(show_opening(current_config().rules)[1])\n"
        "from functions.domain.texts.patterns import mask; print(mask('a dapi0123456789abcdef0123456789abcdef'))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNSTICK_")}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "app", env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "rundeck\n200\na ***\n"), run.stderr


def test_apprise_is_installed_only_where_a_chat_needs_it(archive: Path, tmp_path: Path) -> None:
    """The archive's requirements.txt has the pins of this configuration's chats."""
    config, to = tmp_path / "mine.yaml", tmp_path / "a.zip"
    chat = "channels:\n  mattermost: {type: apprise, url: env://MATTERMOST}\n"
    config.write_text((INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8").replace("channels:\n", chat), encoding="utf-8")
    assert package("--config", str(config), "--to", str(to)).returncode == 0
    for path, expected in ((archive, False), (to, True)):
        with zipfile.ZipFile(path) as file:
            assert (b"\napprise==" in file.read("requirements.txt")) is expected


EXAMPLE = (INFRA / "unstick.cloud.yaml").read_text(encoding="utf-8")
LOCAL = re.sub(r"cloud_storage:\n    bucket: \S+", "local: {path: unstick.db}", EXAMPLE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "mine.yaml is missing"),
        (b"", "is empty"),
        (EXAMPLE.encode("utf-16"), "can't be read as UTF-8"),
        (EXAMPLE.replace("mode: observe", "mode: watch").encode(), "\nmine.yaml:38: runbooks[0].mode is not one of"),
        (LOCAL.encode(), "store is local"),
        (EXAMPLE.replace("Asia/Tokyo", "posix/Asia/Tokyo").encode(), "time_zone is"),
    ],
)
def test_a_faulty_configuration_is_not_built(tmp_path: Path, content: bytes | None, said: str) -> None:
    """All its mistakes are reported in seconds, not by a deployment that fails after minutes; a store on one machine is one,
    too. Nothing is left that could be deployed."""
    if content is not None:
        (tmp_path / "mine.yaml").write_bytes(content)
    done = package("--config", str(tmp_path / "mine.yaml"), "--to", str(tmp_path / "a.zip"))
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert not list(tmp_path.glob("a.zip*"))
