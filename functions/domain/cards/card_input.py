"""What a card is made of, before it is put into words."""

from __future__ import annotations

from msgspec import Struct

from functions.domain.model.alerts import Target
from functions.domain.model.codes import Reason
from functions.domain.model.incidents import AlertRef, Incident
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase


class CardInput(Struct, frozen=True):
    """All that a card is made of. `kind`: started, held, draining, recovered, escalated, resolved, not_approved, test,
    bundle, paused, resumed or unsigned."""

    kind: str
    at: float
    runbook: Runbook | None = None
    target: Target | None = None
    incident: Incident | None = None
    reason: Reason | None = None
    detail: Phrase = ""
    remedy: Phrase = ""
    trigger: AlertRef | None = None
    approve_url: str = ""
    bundled: tuple[str, ...] = ()
    """Names of the targets or alerts that one message speaks of."""
    late_s: float = 0.0
    moving: bool = False
    """Recovered at the end of the time because it moves again, with messages left."""
    mention: tuple[str, ...] = ()
    again: bool = False
    """Held by what passes by itself: it is decided again without anybody."""
