"""A person starts the job in the same second as Unstick: Rundeck runs both, and people read of the other one."""

import pytest

from testbed.unstick_process import job_id
from tests.support.worlds.one_machine import Place

pytestmark = pytest.mark.usefixtures("patient_code")


@pytest.mark.parametrize("after_s", [-1.0, 0.0])
def test_the_card_names_the_other_run(place: Place, after_s: float) -> None:
    """It can't be prevented: Rundeck's limit of one run lets two through that come together."""
    job = job_id("mail")

    def commit() -> None:
        place.rundeck.state.commit = lambda: None
        started = place.now() + after_s
        place.rundeck.state.plant(job, {"service": "mail"}, user="h.tanaka", started=started, ended=place.now() + 1.0)

    place.rundeck.state.commit = commit
    place.alerted()
    place.until_told(place.swept)
    assert "at the same time as execution 1 by h.tanaka" in " ".join(place.cards().split())


def test_an_earlier_run_is_not_named(place: Place) -> None:
    """It ended before ours began."""
    now = place.now()
    place.rundeck.state.plant(job_id("mail"), {"service": "mail"}, user="h.tanaka", started=now - 7200, ended=now - 7100)
    place.alerted()
    place.until_told(place.swept)
    assert "recovered" in place.cards()
    assert "at the same time" not in place.cards()
