"""Whatever is said or done for each code of a closed list has an entry for each: a new reason, phase or kind of card fails here,
by the file that lacks it, and not as a KeyError while a card is composed."""

import ast
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PARTIAL = {"functions/domain/cards/card.py: KINDS": {"REPORT", "CHECK"}}  # which are rendered without `compose`
"""The codes that a table needs no entry for, since it is asked first whether it has one."""


def tables() -> Iterator[tuple[str, type[StrEnum], Mapping[Any, object]]]:
    """Each constant of functions/ that is typed as a Mapping from an enumeration: (file: name, enumeration, value)."""
    for path in sorted((ROOT / "functions").rglob("*.py")):
        file = path.relative_to(ROOT)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.AnnAssign(ast.Name(name), ast.Subscript(ast.Name("Mapping"), ast.Tuple([ast.Name(key), *_]))):
                    module = import_module(".".join(file.with_suffix("").parts))
                    kind = getattr(module, key, None)
                    if isinstance(kind, type) and issubclass(kind, StrEnum):
                        yield f"{file}: {name}", kind, getattr(module, name)


def test_no_table_lacks_a_code():
    """Each line names the file to edit. `make lint` names the pages and translations."""
    every = list(tables())
    assert {kind.__name__ for _, kind, _ in every} >= {"Reason", "CardKind", "Phase", "Ending", "Verdict", "Proof"}
    lacking = [
        f"{place} lacks {kind.__name__}.{code.name}"
        for place, kind, table in every
        for code in kind
        if code not in table and code.name not in PARTIAL.get(place, ())
    ]
    assert not lacking, "\n".join(lacking)
