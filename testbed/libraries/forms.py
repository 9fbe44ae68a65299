"""What the programs of this folder have in common: their command line, and what they write to their output."""

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple

import causes


class Form(NamedTuple):
    """One way in which an application uses its library."""

    says: str
    settings: Mapping[str, Any]


def parse(forms: Mapping[str, Form]) -> Namespace:
    parser = ArgumentParser(epilog="; ".join(f"{name}: {form.says}" for name, form in forms.items()))
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--form", required=True, choices=forms)
    parser.add_argument("--node", default="worker", help="a name of its own")
    parser.add_argument("--healthy", action="store_true", help="as after a restart that helped: nothing hangs any more")
    return parser.parse_args()


def say(line: str) -> None:
    """One line, whole and at once, past whatever a library has put in place of the standard output."""
    os.write(1, f"{line}\n".encode())


def hang(name: str = "hang") -> None:
    """Never come back. `hang CAUSE PORT` hangs in this function of causes.py."""
    say("hangs")
    _, *given = name.split()
    if len(given) == 2 and hasattr(causes, given[0]):
        getattr(causes, given[0])(int(given[1]))
    while True:
        time.sleep(3600)
