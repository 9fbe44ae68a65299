"""The applications of `make town`, which itself runs by hand and by night."""

import pytest

from tests.system.town.__main__ import main
from tests.system.town.healthy import HEALTHY
from tests.system.town.nodes import OF_THREE, PATTERNS
from tests.system.town.protocols import PROTOCOLS
from tests.system.town.stuck import STUCK


@pytest.mark.parametrize("patterns", [(*HEALTHY, *STUCK, *PROTOCOLS), PATTERNS, OF_THREE], ids=["one node", "two", "three"])
def test_every_application_has_a_name_of_its_own(patterns):
    """Its queue, its target and its line of the result are named by it."""
    names = [pattern.name for pattern in patterns]
    assert sorted(set(names)) == sorted(names)
    assert all(callable(pattern.play) for pattern in patterns)


def test_it_says_what_it_takes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Before any broker is started."""
    monkeypatch.setattr("sys.argv", ["town", "--version", "2.0"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "there is no 2.0" in capsys.readouterr().err
