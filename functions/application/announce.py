"""Posts what belongs to no incident: the kill switch as it is turned, the report, and what `check` found."""

from collections.abc import Iterable
from functools import partial

from functions.application.deliver import POST_S, post
from functions.application.documents import PAUSE_KEY, STORE_S, TRIES, encode, load_pause
from functions.application.ports import Ports
from functions.domain.cards.card import compose
from functions.domain.cards.content import CardInput, clock
from functions.domain.decisions.messages import call_people
from functions.domain.model.cards import Card, CardKind
from functions.domain.model.observations import Pause
from functions.runtime.errors import Conflict, Denied, Unavailable
from functions.runtime.parallel import unwrap
from functions.runtime.text import Text, in_brackets, join


def post_to_all(ports: Ports, channels: Iterable[str], card: Card) -> dict[str, str]:
    """Post to these channels at once, and to those of `escalate` if urgent. Returns channel -> problem, empty if posted."""
    card, names = call_people(ports.rules, None, card, tuple(channels))
    results = ports.run_parallel([partial(post, ports, name, card, None, POST_S) for name in names], POST_S)
    problems = dict.fromkeys(names, "")
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Unavailable | Denied):
            remedy = result.remedy if isinstance(result, Denied) else ""
            problems[name] = f"{result.detail}. {remedy}".rstrip(". ") + "."
            ports.log("ERROR", f"not posted to {name}: {problems[name]}", channel=name)
        else:
            unwrap(result)
    return problems


def turn(ports: Ports, wanted: Pause) -> Pause | None:
    """Save the kill switch. Returns the former one (None: off). Raises Unavailable if it may not have been saved, or Denied."""
    for _ in range(TRIES):
        before, generation = load_pause(ports)
        try:
            ports.store.save(PAUSE_KEY, encode(wanted), generation=generation, due=None, timeout_s=STORE_S)
        except Conflict:
            continue
        return before if before and before.holds_at(wanted.at) else None
    raise Unavailable("store", Text("another process kept changing the kill switch"))


def turn_and_tell(ports: Ports, switch: Pause) -> tuple[Pause | None, dict[str, str]]:
    """Turn the switch, and post that to the default channels, unless it was off before and after. Returns the former switch, and
    for each channel the problem with its remedy, empty if it was posted."""
    before = turn(ports, switch)
    if not switch.on and before is None:
        return before, {}
    until = Text("until {until}", until=clock(ports.rules, switch.until)) if switch.until else ""
    detail = join((in_brackets(switch.reason, switch.by), until))
    card = compose(CardInput(CardKind.PAUSED if switch.on else CardKind.RESUMED, switch.at, detail=detail), ports.rules)
    return before, post_to_all(ports, ports.rules.default_channels, card)
