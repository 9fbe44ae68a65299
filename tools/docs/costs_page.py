r"""Writes the table of docs/costs.md: the monthly costs on Google Cloud at list prices.

python -m tools.docs.costs_page
"""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "costs.md"
BEGIN, END = "<!-- tables: python -m tools.docs.costs_page -->", "<!-- end of tables -->"
READ_ON = "2026-11-26"
DAYS = 30


@dataclass(frozen=True)
class Price:
    """A list price in US dollars for `per` units, and the free units of each month."""

    unit: str
    dollars: float
    per: float
    free: float
    source: str


PRICES = {
    "cpu": Price("vCPU second", 24.0, 1e6, 180_000, "https://cloud.google.com/run/pricing"),
    "memory": Price("GiB second", 2.5, 1e6, 360_000, "https://cloud.google.com/run/pricing"),
    "requests": Price("request", 0.40, 1e6, 2e6, "https://cloud.google.com/run/pricing"),
    "tasks": Price("Cloud Tasks operation", 0.40, 1e6, 1e6, "https://cloud.google.com/tasks/pricing"),
    "jobs": Price("Cloud Scheduler job", 0.10, 1, 3, "https://cloud.google.com/scheduler/pricing"),
    "secrets": Price("secret version", 0.06, 1, 6, "https://cloud.google.com/secret-manager/pricing"),
    "accesses": Price("secret access", 0.03, 1e4, 1e4, "https://cloud.google.com/secret-manager/pricing"),
    "writes": Price("Cloud Storage write or list", 0.005, 1e3, 0, "https://cloud.google.com/storage/pricing-examples"),
    "reads": Price("Cloud Storage read", 0.0004, 1e3, 0, "https://cloud.google.com/storage/pricing-examples"),
    "stored": Price("Cloud Storage GB month", 0.023, 1, 0, "https://cloud.google.com/storage/pricing"),
    "images": Price("Artifact Registry GB month", 0.10, 1, 0.5, "https://cloud.google.com/artifact-registry/pricing"),
    "logs": Price("GiB of logs", 0.50, 1, 50, "https://cloud.google.com/stackdriver/pricing"),
    "conditions": Price("condition of a metric alert", 1.50, 1, 0, "https://cloud.google.com/monitoring/alerts/cost-control"),
    "series": Price("time series read by conditions", 0.35, 1e6, 0, "https://cloud.google.com/monitoring/alerts/cost-control"),
}

WEBHOOK_GIB, OTHER_GIB = 1.0, 0.5
"""Memory of the functions, as in infra/module."""
FORGED_S, WEBHOOK_S, VERIFY_S, SWEEP_S, WEEKLY_S = 0.1, 2.0, 1.0, 0.3, 120.0
"""Seconds that Cloud Run bills, rounded up to 0.1: a forged request; an alert with its calls; a wake-up; a sweep; the report
and check of one week together. Assumes that each has the instance to itself, which is the upper limit."""
WAKE_UPS = 8
"""Wake-ups of one alert: six checks until the queue is healthy in two of them, the messages, and one spare."""
SUSPICION_S, SUSPICION_WRITES = 1.0, 3
"""Requests of a suspicion that is not confirmed: two notifications (firing and resolved) and one wake-up."""
SECRETS = 5
OVERWRITTEN_GB, IMAGES_GB = 8e-6, 1.0
"""A document's former version, which the bucket keeps for a month; the images of three functions and of those before them. Both
are assumptions."""
INSTANCE_CACHE_S = 300.0
ENTRY_KIB = 1.0


@dataclass(frozen=True)
class Month:
    """The events of one month."""

    title: str
    alerts: float = 0
    forged: float = 0
    suspicions: float = 0


MONTHS = [
    Month("nothing happens"),
    Month("one alert a day", alerts=DAYS),
    Month("a thousand alerts a day", alerts=1000 * DAYS),
    Month("one alert a day, and a million forged requests", alerts=DAYS, forged=1e6),
    Month("one alert a day, and a suspicion every minute", alerts=DAYS, suspicions=DAYS * 24 * 60),
]


def usage(month: Month) -> dict[str, float]:
    """Used units of everything that has a price."""
    sweeps = DAYS * 24 * 12
    wake_ups = month.alerts * WAKE_UPS + month.suspicions
    webhook_s = month.alerts * WEBHOOK_S + month.forged * FORGED_S + month.suspicions * 2 * SUSPICION_S
    other_s = wake_ups * VERIFY_S + sweeps * SWEEP_S + DAYS / 7 * WEEKLY_S
    requests = month.alerts + month.forged + month.suspicions * 2 + wake_ups + sweeps + DAYS / 7 * 3
    written = month.alerts * 12 + month.suspicions * SUSPICION_WRITES
    lifetimes = min(month.alerts + month.suspicions + sweeps, DAYS * 86400 / INSTANCE_CACHE_S * 3)
    return {
        "cpu": webhook_s + other_s,
        "memory": webhook_s * WEBHOOK_GIB + other_s * OTHER_GIB,
        "requests": requests,
        "tasks": wake_ups * 2,
        "jobs": 3,
        "secrets": SECRETS,
        "accesses": lifetimes * (SECRETS - 1),
        "writes": written + sweeps,
        "reads": (month.alerts + month.suspicions * 2 + wake_ups) * 4,
        "stored": 0.1 + month.alerts * 20e-6 * 13 + written * OVERWRITTEN_GB,
        "images": IMAGES_GB,
        "logs": requests * ENTRY_KIB * 2 / 1024**2,
        "conditions": 4,
        "series": 4 * DAYS * 24 * 60,
    }


def dollars(units: dict[str, float], *, free: bool) -> float:
    """The price, with or without the free tier of the billing account."""
    return sum(
        max(0.0, amount - (PRICES[name].free if free else 0)) / PRICES[name].per * PRICES[name].dollars
        for name, amount in units.items()
    )


def table() -> str:
    """The cost of each month."""
    lines = [f"| in a month, list prices of {READ_ON} | with the free tier | without |", "| --- | ---: | ---: |"]
    for title, units in [(month.title, usage(month)) for month in MONTHS]:
        lines.append(f"| {title} | ${dollars(units, free=True):,.2f} | ${dollars(units, free=False):,.2f} |")
    return "\n".join(lines)


def page() -> str:
    """The page with its table replaced."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
