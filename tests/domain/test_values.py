"""What the domain hands on stays what it was."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from msgspec import Struct

from functions import domain


def test_no_value_of_the_domain_can_be_changed():
    """A step returns a new document; whoever holds the old one can rely on it."""
    modules = [import_module(one.name) for one in pkgutil.walk_packages(domain.__path__, "functions.domain.")]
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Struct)}
    assert [kind.__name__ for kind in kinds if not kind.__struct_config__.frozen and kind is not Struct] == []
