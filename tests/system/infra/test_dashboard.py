"""The dashboard's queries on a real Prometheus with half an hour of a queue's life, by Grafana's rules for what it shows."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from functions.domain.model.codes import Ending
from testbed import alerting
from testbed.patience import PATIENCE_S
from tests.entrypoints.test_metrics import archived, some_history, some_trouble
from tests.support.needs import need
from tests.support.worlds.one_machine import Place

DASHBOARD = Path(__file__).resolve().parents[3] / "infra" / "grafana" / "dashboards" / "unstick.json"
STEP_S, MINUTES = 15, 30
GONE = range(10, 13)
"""In these minutes there is no consumer, and nothing is acknowledged."""
LABELS = 'job="rabbitmq",vhost="/",queue="mail.delivery"'


def metrics_of(begin: int, page: Callable[[int], str]) -> str:
    """OpenMetrics of the half hour. `page`: what `/metrics` answers after so many seconds."""
    series: dict[str, list[str]] = {}
    for after_s in range(0, MINUTES * 60, STEP_S):
        for line in (line for line in page(after_s).splitlines() if not line.startswith("#")):
            series.setdefault(re.split("[ {]", line)[0], []).append(f"{line} {begin + after_s}")
    # All series of a name stand together, and the samples of one series in order of time.
    for lines in series.values():
        lines.sort(key=lambda line: (line.rsplit(" ", 2)[0], int(line.rsplit(" ", 1)[1])))
    return "".join(f"# TYPE {name} unknown\n" + "\n".join(lines) + "\n" for name, lines in series.items()) + "# EOF\n"


def a_queues_life(after_s: int) -> str:
    """It works, sticks while its consumer is away, and works again."""
    gone_s = min(max(0, after_s - GONE.start * 60), len(GONE) * 60)
    is_gone = after_s // 60 in GONE
    figures = {"messages": 9 if is_gone else 2, "messages_ready": 8 if is_gone else 1, "messages_unacked": 1}
    lines = [f"rabbitmq_detailed_queue_{name}{{{LABELS}}} {value}" for name, value in figures.items()]
    acked = f'rabbitmq_detailed_channel_messages_acked_total{{{LABELS},channel="<0.1.0>"}} {(after_s - gone_s) // 3}'
    return "\n".join([*lines, f"rabbitmq_detailed_queue_consumers{{{LABELS}}} {int(not is_gone)}", acked])


@pytest.fixture(scope="module")
def begin() -> int:
    return int(time.time()) // 60 * 60 - MINUTES * 60


@pytest.fixture(scope="module")
def prometheus(begin: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with filled(tmp_path_factory.mktemp("prometheus"), metrics_of(begin, a_queues_life)) as url:
        yield url


@contextmanager
def filled(folder: Path, text: str) -> Iterator[str]:
    """A Prometheus that has these figures."""
    need("prometheus")
    (folder / "figures").write_text(text, encoding="utf-8")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "figures", "data"], cwd=folder, check=True, capture_output=True
    )
    with alerting.prometheus(folder, {"global": {}}) as url:
        yield url


def ask(url: str, path: str, **query: Any) -> Any:
    with urlopen(f"{url}/api/v1/{path}?{urlencode(query)}", timeout=PATIENCE_S) as answer:
        content = json.load(answer)
    assert content["status"] == "success"
    return content["data"]


def run(url: str, expression: str, begin: int) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    """As Grafana asks: variables that stand for all become `.*`, every 30 s."""
    query = expression.replace("$vhost", ".*").replace("$queue", ".*")
    series = ask(url, "query_range", query=query, start=begin, end=begin + MINUTES * 60 - STEP_S, step=30)["result"]
    return [(one["metric"], [(int(at), float(value)) for at, value in one["values"]]) for one in series]


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def targets_of_panels() -> list[Any]:
    return [target for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def marks(url: str, name: str, begin: int) -> list[float]:
    """The minutes that Grafana marks. It leaves out whatever is not over 0 (processEvents of its Prometheus data source)."""
    (annotation,) = [one for one in dashboard()["annotations"]["list"] if one["name"] == name]
    series = run(url, annotation["expr"], begin)
    return [(at - begin) / 60 for _, values in series for at, value in values if value > 0]


def test_every_panel_shows_the_queue(prometheus: str, begin: int) -> None:
    """A query that finds nothing shows an empty panel, not an error."""
    targets = [target for target in targets_of_panels() if "unstick_" not in target["expr"]]
    assert len(targets) >= 5
    for target in targets:
        series = run(prometheus, target["expr"], begin)
        assert [metric for metric, _ in series] == [{"vhost": "/", "queue": "mail.delivery"}], target["expr"]
        assert len(series[0][1]) > MINUTES


def test_the_time_without_a_consumer_is_marked(prometheus: str, begin: int) -> None:
    """`== 0` keeps zeros, which Grafana leaves out: there was never a mark."""
    minutes = marks(prometheus, "Consumers gone", begin)
    assert minutes
    assert GONE.start <= min(minutes) <= max(minutes) <= GONE.stop + 0.5


def test_the_moment_at_which_it_moves_again_is_marked(prometheus: str, begin: int) -> None:
    """Once after the pause, and not all the time."""
    minutes = [minute for minute in marks(prometheus, "Moving again", begin) if minute > 2]
    assert minutes
    assert GONE.stop <= min(minutes) <= max(minutes) <= GONE.stop + 2


def test_the_row_on_unstick_itself_shows_what_metrics_has(place: Place, begin: int, tmp_path: Path) -> None:
    """Every query on what the real endpoint answered, before and after some trouble; and the shipped alerts name nothing else."""
    webhook = place.entry("webhook")
    quiet = webhook.get("/metrics").text
    some_history()
    some_trouble()
    archived("today", 1.0, Ending.RECOVERED, restarts=2)
    troubled = webhook.get("/metrics").text
    targets = [target for target in targets_of_panels() if "unstick_" in target["expr"]]
    assert len(targets) >= 8
    with filled(tmp_path, metrics_of(begin, lambda after_s: quiet if after_s < MINUTES * 30 else troubled)) as url:
        for target in targets:
            series = run(url, target["expr"], begin)
            assert series, target["expr"]
            assert any(value != 0 for _, values in series for _, value in values), target["expr"]
        assert {metric["reason"] for metric, _ in run(url, targets[2]["expr"], begin)} == {"paused"}
    there = set(re.findall(r"^(unstick_\w+)", troubled, re.MULTILINE))
    asked = re.findall(r"unstick_\w+", (DASHBOARD.parents[2] / "prometheus" / "unstick.rules.yml").read_text(encoding="utf-8"))
    assert asked
    assert {name for name in asked if not name.startswith("unstick_rules")} <= there
