"""What queues do before a real Prometheus, and what is said of each: the situations of docs/symptoms.md, fifteen times as fast.

Wrong may be only what the page says is wrong without its line; with its line it is right. All are long: by day the tests of the
adapter have the answers of a Prometheus."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.adapters.symptoms import prometheus
from functions.application.observe import or_unknown
from functions.application.ports import Query
from functions.domain.health.looks import judge_health
from functions.domain.health.recovery import Since, judge_recovery
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import Reading, Statement
from functions.domain.model.runbooks import Verify
from testbed import alerting
from testbed.broker import free_ports
from testbed.doubles import server
from testbed.patience import PATIENCE_S
from tests.support.needs import need
from tests.support.worlds.scenes import runbook

MINUTE_S = 4.0
"""`for`, `range`, and what a minute is here."""
PLAYED_S = 38.0
RESTARTED_S = 15.0
"""When a restart ends, for those that are restarted."""
AWAY_S = (14.0, 14.0 + 100 / 15)
"""When one of the two servers is away."""
LOOK_S = 0.5

Page = Callable[[float], str | None]
"""What an exporter answers after so many seconds; None: 500."""


def queue_of(jobs: float = 3) -> Page:
    return lambda _: f"jobs {jobs}\n"


def works(every_s: float, until_s: float = 1e9, since_s: float = 0.0, *, label: str = "") -> Page:
    """A worker that does a job every so many seconds."""
    return lambda t: f"done_total{label} {max(0, int((min(t, until_s) - since_s) / every_s))}\n"


def both(*pages: Page) -> Page:
    return lambda t: None if None in (said := [page(t) for page in pages]) else "".join(map(str, said))


def during(begin: float, end: float, page: Page, otherwise: Page = lambda _: None) -> Page:
    return lambda t: page(t) if begin <= t < end else otherwise(t)


def restarted(worker: Page) -> Page:
    return during(0, RESTARTED_S, works(0.2, 5), worker)


def silent(_: float) -> str:
    return ""


JOBS, DONE = 'sum(jobs{queue="${labels.queue}"})', 'sum(increase(done_total{queue="${labels.queue}"}[4s]))'
STUCK, RECOVERED = f"{JOBS} > 0 and {DONE} == 0", f"{DONE} > 0 or {JOBS} == 0"
SCRAPED = ' and on () min(up{job="workers", queue="${labels.queue}"}) == 1'
PUSHED = ' and on () (time() - max(push_time_seconds{queue="${labels.queue}"}) < 4)'
QUEUE_UP = 'up{job="queues", queue="${labels.queue}"} == 1'
NO_WORKER = "sum(min_over_time(jobs{QUEUE}[4s])) > 0 and max(max_over_time(workers{QUEUE}[4s])) == 0".replace(
    "QUEUE", 'queue="${labels.queue}"'
)
NOT_SUMMED = f'jobs{{queue="${{labels.queue}}"}} > 0 and on () {DONE} == 0'
UP_IS_NO_COUNT = f'{JOBS} > 0 and max(up{{job="workers", queue="${{labels.queue}}"}}) == 0'
EMPTY_IS_GONE = f"{DONE} > 0 or (({JOBS} or vector(0)) == 0 and on () {QUEUE_UP})"
ILL, WELL, UNKNOWN = Health.ILL, Health.WELL, Health.UNKNOWN


QUEUE, NOTHING = queue_of(), during(0, 0, silent)
IDLE, LONG, FAILS = works(9, 0), works(12), during(0, 8, works(0.2))
DEAD_PUSHER = both(lambda t: f"done_total {int(min(t, 8) * 5)}\n", lambda t: f"push_time_seconds {time.time() - max(0, t - 8)}\n")


@dataclass(frozen=True)
class Situation:
    worker: Page | None
    queue: Page = QUEUE
    other: Page | None = None
    """Another worker, with a target of its own."""
    never: tuple[Health, ...] = (ILL,)
    once: tuple[Health, ...] = (WELL,)
    since_s: float = 0.0
    """From when on `never` counts."""
    stuck: str = STUCK
    recovered: str = RECOVERED
    for_s: float = MINUTE_S
    scrape: str = "500ms"

    @property
    def pages(self) -> dict[str, Page | None]:
        return {"queues": self.queue, "workers": self.worker, "others": self.other}

    def ask(self, name: str) -> Query:
        symptom = prometheus.Symptom(self.stuck, self.recovered, for_s=self.for_s, range_s=MINUTE_S).to_symptom()
        return Query(prometheus.name_queue(symptom, {"queue": name}), self.for_s)


def unknown(queue: Page = QUEUE, worker: Page | None = IDLE, **more: Any) -> Situation:
    return Situation(worker, queue, never=(ILL, WELL), once=(UNKNOWN,), **more)


def ill(worker: Page, *once: Health, **more: Any) -> Situation:
    """In the end it is called stuck: rightly, or as the page says."""
    return Situation(worker, never=(), once=(*once, ILL), **more)


def workers(there: Callable[[float], bool]) -> Page:
    return both(QUEUE, lambda t: f"workers {int(there(t))}\n")


SITUATIONS = {
    "works": Situation(works(0.07)),
    "four bursts a minute": Situation(works(1)),
    "idle for long, then a job every two seconds": Situation(
        during(0, 12, works(9, 0), works(2 / 15, since_s=12)), during(0, 12, queue_of(0), QUEUE)
    ),
    "hangs": ill(works(0.2, 10), WELL),
    "jobs of 45 s": Situation(works(3)),
    "jobs of 180 s": ill(LONG),
    "jobs of 180 s, with a `for` that is longer": Situation(LONG, for_s=16.0, once=()),
    "scraped once a minute": unknown(worker=works(0.2), scrape="4s"),
    "hangs, and its queue can't be scraped": unknown(NOTHING),
    "works, and neither can be scraped": unknown(NOTHING, NOTHING),
    "works, and its worker can't be scraped": unknown(worker=FAILS, since_s=14),
    "its worker can be scraped for 20 s of 80": Situation(lambda t: works(0.07)(t) if t % (80 / 15) < 20 / 15 else None, once=()),
    "its worker is gone, and counted by something else": ill(FAILS, WELL, queue=workers(lambda t: t < 8), stuck=NO_WORKER),
    "its worker can't be scraped, taken for gone": ill(FAILS, stuck=UP_IS_NO_COUNT),
    "one worker can't be scraped, and the other is idle": ill(FAILS, WELL, other=IDLE),
    "the same, with `up` of both": Situation(FAILS, other=IDLE, stuck=STUCK + SCRAPED, once=(WELL, UNKNOWN)),
    "deployed while a server is away": Situation(works(0.2), workers(lambda t: not 13 < t < 17), stuck=NO_WORKER),
    "hangs before a counter exists": unknown(worker=silent),
    "a first job of 200 s, before a counter exists": Situation(during(0, 200 / 15, silent, works(0.2)), once=(UNKNOWN, WELL)),
    "the counter falls, as another process ends, and hangs": ill(
        during(0, 12, both(works(0.2, 5, label='{worker="a"}'), works(0.2, label='{worker="b"}')),
            works(0.2, 5, label='{worker="a"}')), WELL
    ),
    "an empty queue has no series": unknown(silent),
    "the same, with `or vector(0)` while its exporter is up": Situation(IDLE, silent, recovered=EMPTY_IS_GONE),
    "the same, and its exporter is down": unknown(NOTHING, recovered=EMPTY_IS_GONE),
    "a depth that is no number": unknown(lambda _: "jobs NaN\n"),
    "a counter that is no number": unknown(worker=lambda _: "done_total NaN\n"),
    "two series": unknown(lambda _: 'jobs{pod="a"} 3\njobs{pod="b"} 3\n', stuck=NOT_SUMMED),
    "partitions that take turns": unknown(lambda t: f'jobs{{partition="{int(t) % 3}"}} 3\n', stuck=NOT_SUMMED),
    "a server that does not scrape the workers": unknown(worker=None),
    "hangs, and the labels of both differ": unknown(
        stuck='jobs{queue="${labels.queue}"} > 0 and increase(done_total{queue="${labels.queue}"}[4s]) == 0'
    ),
    "pushed, and the pusher dies": ill(DEAD_PUSHER, WELL),
    "the same, with the age of the push": Situation(DEAD_PUSHER, stuck=STUCK + PUSHED, once=(WELL, UNKNOWN)),
    "restarted, and healthy": ill(restarted(works(0.2, since_s=RESTARTED_S))),
    "restarted, and hangs again after 25 s": ill(restarted(works(0.2, RESTARTED_S + 25 / 15, RESTARTED_S))),
    "restarted, and hangs after one job": ill(restarted(works(1, RESTARTED_S + 1, RESTARTED_S))),
}  # fmt: skip
"""Those that are restarted hang before."""


PAGES = {"queues": {"job": "queues"}, "workers": {"job": "workers"}, "others": {"job": "workers", "instance": "other"}}
"""Kind of page -> labels of its target."""


class Exporter(server.Serving):
    """The pages of all of them."""

    def __init__(self) -> None:
        exporter, self.began = self, time.monotonic()

        class Handler(server.Handler):
            def answer(self) -> None:
                _, kind, number = self.path.split("/")
                situation = list(SITUATIONS.values())[int(number)]
                page = situation.pages[kind]
                said = page(time.monotonic() - exporter.began) if page else None
                self.reply(500 if said is None else 200, (said or "").encode(), "text/plain; version=0.0.4")

        super().__init__(Handler)

    def scrapes(self) -> dict[str, Any]:
        """prometheus.yml."""
        jobs = [self._job(kind, scrape) for kind in PAGES for scrape in ("500ms", "4s")]
        return {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": jobs}

    def _job(self, kind: str, scrape: str) -> dict[str, Any]:
        address = self.url.removeprefix("http://")
        targets = [
            {"targets": [address], "labels": {"__metrics_path__": f"/{kind}/{number}", "queue": name, **PAGES[kind]}}
            for number, (name, one) in enumerate(SITUATIONS.items())
            if one.scrape == scrape and one.pages[kind]
        ]
        return {"job_name": f"{kind}-{scrape}", "scrape_interval": scrape, "static_configs": targets}


Seen = dict[str, list[tuple[float, Reading]]]
"""By situation: each look at it, and when that was."""


@dataclass(frozen=True)
class Played:
    """All looks at all situations, by a server that is always there, and by one that was away for 100 s."""

    url: str
    """Of the one that is always there."""
    looks: Seen
    before_away: Seen


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    need("prometheus")
    folder, (port,) = tmp_path_factory.mktemp("prometheus"), free_ports(1)
    with Exporter() as exporter, ExitStack() as away, alerting.prometheus(folder / "one", exporter.scrapes()) as url:
        away.enter_context(alerting.prometheus(folder / "two", exporter.scrapes(), port))
        exporter.began = time.monotonic()
        servers = [prometheus.Prometheus(url), prometheus.Prometheus(f"http://127.0.0.1:{port}")]
        yield Played(url, *play(exporter, servers, away, folder))


def play(exporter: Exporter, servers: list[prometheus.Prometheus], away: ExitStack, folder: Path) -> tuple[Seen, Seen]:
    queries = [one.ask(name) for name, one in SITUATIONS.items()]
    seen: tuple[Seen, Seen] = ({name: [] for name in SITUATIONS}, {name: [] for name in SITUATIONS})
    left = 0
    while (at := time.monotonic() - exporter.began) < PLAYED_S:
        if left < len(AWAY_S) and at > AWAY_S[left]:
            away.close()
            if left:
                port = int(servers[1].url.rpartition(":")[2])
                away.enter_context(alerting.prometheus(folder / "two", exporter.scrapes(), port))
            left += 1
        for adapter, looks in zip(servers, seen, strict=True):
            outcomes = map(or_unknown, adapter.look_all(queries, timeout_s=PATIENCE_S))
            for name, reading in zip(SITUATIONS, outcomes, strict=True):
                looks[name].append((time.time(), reading))
        time.sleep(LOOK_S)
    return seen


def healths(name: str, looks: list[tuple[float, Reading]], since_s: float = 0.0) -> list[Health]:
    queue, for_s = SITUATIONS[name].ask(name).queue, SITUATIONS[name].for_s
    symptom = prometheus.Symptom("a", "b", for_s=for_s).to_symptom()
    began = looks[0][0]
    return [
        judge_health(symptom, reading, QueueState(queue, "", 0.0), at)[0].health for at, reading in looks if at - began >= since_s
    ]


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_said_of_a_situation(played: Played, name: str) -> None:
    """I3: each look at it."""
    said, situation = healths(name, played.looks[name]), SITUATIONS[name]
    assert set(said) >= set(situation.once), said
    assert not set(healths(name, played.looks[name], situation.since_s)) & set(situation.never), said


@pytest.mark.parametrize("name", [name for name, one in SITUATIONS.items() if ILL in one.never])
def test_a_server_that_was_away_proves_nothing(played: Played, name: str) -> None:
    """What it did not see, it does not know."""
    assert ILL not in healths(name, played.before_away[name])


def test_a_hang_is_proved_once_it_has_lasted(played: Played) -> None:
    """Not before `for` and most of a `range` have passed; before a server that was away, as well."""
    for looks, away_s in ((played.looks, 0.0), (played.before_away, AWAY_S[1] - AWAY_S[0])):
        began = looks["hangs"][0][0]
        first = next(
            at - began for (at, _), health in zip(looks["hangs"], healths("hangs", looks["hangs"]), strict=True) if health is ILL
        )
        assert 10 + 1.5 * MINUTE_S < first < 10 + 4 * MINUTE_S + away_s
        print(f"proved {first - 10:.1f} s after the last job")


@pytest.mark.parametrize(("name", "recovers"), [(name, name.endswith("healthy")) for name in SITUATIONS if "restarted" in name])
def test_recovered_takes_two_checks_one_range_apart(played: Played, name: str, recovers: bool) -> None:
    """I5: after one `range`; one that hangs again soon, or after one job, is not said to have recovered."""
    looks = played.looks[name]
    queue, began = SITUATIONS[name].ask(name).queue, looks[0][0]
    symptom = prometheus.Symptom("a", "b", for_s=MINUTE_S, range_s=MINUTE_S).to_symptom()
    book = runbook(symptom=symptom, verify=Verify(every_s=1.0, patience_s=8.0))
    watched, proved = QueueState(queue, "mail", began), False
    for at, reading in looks:
        age_s = at - began - RESTARTED_S
        if age_s > 0:
            watched = judge_recovery(book, reading, watched, Since(age_s, at))
            proved = proved or watched.after.proven
    assert proved is recovers
    assert isinstance(looks[-1][1], Statement)


def page_expressions() -> list[dict[str, Any]]:
    """Those of docs/symptoms.md and of pieces.md."""
    page = (alerting.SHIPPED.parents[1] / "docs" / "symptoms.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (book,) = yaml.safe_load(block)["runbooks"]
    return [book["symptom"]["prometheus"], *alerting.ready_expressions()]


@pytest.mark.parametrize("block", page_expressions(), ids=lambda block: block["stuck"][:30])
def test_prometheus_takes_the_expressions_of_the_pages(played: Played, block: dict[str, Any]) -> None:
    """And so does the configuration; a queue that is not there is unknown."""
    keys = prometheus.Symptom(**{name: block[name] for name in prometheus.EXPRESSIONS}, allow=block.get("allow", {}))
    assert list(keys.find_mistakes()) == []
    queue = prometheus.name_queue(keys.to_symptom(), {"vhost": "/", "queue": "mail.delivery"})
    (seen,) = prometheus.Prometheus(played.url).look_all([Query(queue, MINUTE_S)], timeout_s=PATIENCE_S)
    assert isinstance(seen, Statement), seen
    assert (seen.stuck_s, seen.recovered) == (None, False)
