"""What a shell completes from the store: incidents and targets."""

import os
from collections.abc import Callable, Iterable

import click

from functions.application.history.incidents import document_keys, load_documents, name_of
from functions.bootstrap import Adapters
from functions.config.current import DEFAULT_PATH
from unstick import output

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(list_names: Callable[[Adapters], Iterable[str]]) -> Complete:
    """Offer these names. Whatever is wrong, the shell just offers nothing."""

    def complete(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
        path = ctx.params.get("config_path") or os.environ.get("UNSTICK_CONFIG", DEFAULT_PATH)
        try:
            return sorted({name for name in list_names(output.load_adapters(path)) if name.startswith(begun)})
        except Exception:  # noqa: BLE001 - a traceback would land in the line that somebody types
            return []

    return complete


@completing
def targets(ports: Adapters) -> Iterable[str]:
    """The names of `status`."""
    return map(name_of, load_documents(ports, document_keys(ports)).readable)


@completing
def incidents(ports: Adapters) -> Iterable[str]:
    """The open incidents, and those that the documents remember."""
    documents = load_documents(ports, document_keys(ports)).readable
    ended = (outcome.incident for document in documents for outcome in document.outcomes)
    return (*ended, *(document.incident.id for document in documents if document.incident))
