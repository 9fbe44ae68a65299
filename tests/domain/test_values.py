"""What the domain hands on stays what it was, and what a document lacks counts as nothing."""

import pkgutil
from importlib import import_module

import msgspec
from msgspec import Struct

from functions import domain
from functions.domain.model.observations import Pause
from tests.support.worlds.scenes import NOW, alert

MODULES = [import_module(one.name) for one in pkgutil.walk_packages(domain.__path__, "functions.domain.")]
KINDS = {
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Struct) and kind.__module__ == module.__name__
}
MEANT = {"version", "Pause.on", "Waiting.calls", "Decision.tell"}
"""Defaults that say something: a written pause is on, what waits calls people, and a hold is told."""


def test_no_value_of_the_domain_can_be_changed():
    """A step returns a new document; whoever holds the old one can rely on it."""
    assert [kind.__name__ for kind in KINDS if not kind.__struct_config__.frozen] == []


def test_what_a_document_lacks_is_nothing():
    """Documents of former builds lack the fields that came later: unknown, none, no, never. A part of one has such fields."""
    kinds = [kind for kind in KINDS if ".model." in kind.__module__ and not kind.__module__.endswith(".runbooks")]
    said = {
        f"{kind.__name__}.{one.name}"
        for kind in kinds
        for one in msgspec.structs.fields(kind)
        if one.name not in MEANT
        for default in [one.default_factory() if callable(one.default_factory) else one.default]
        if default is not msgspec.NODEFAULT and default and type(default) not in KINDS
    }
    assert said == MEANT - {"version"}


def test_a_long_source_is_kept_as_its_hash():
    """So is one with characters that nobody can see."""
    for source, kept in (("s" * 200, True), ("s" * 201, False), ("caf\u00e9", False), ("a\n", False)):
        reported = alert(source=source)
        assert (reported.short_source == source, len(reported.short_source) == 64) == (kept, not kept)


def test_a_pause_holds_until_its_end():
    """Without an end until somebody ends it."""
    assert all(pause.holds_at(NOW) for pause in (Pause(), Pause(until=NOW + 1)))
    assert not any(pause.holds_at(NOW) for pause in (Pause(until=NOW), Pause(on=False), Pause(on=False, until=NOW + 1)))
