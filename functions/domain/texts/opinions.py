"""The second opinion: what an evidence job says of the application on the host that holds a message (docs/evidence.md).

Its last line on a node may be `unstick: healthy REASON` or `unstick: stuck REASON`. Silence, or both, changes nothing."""

import re
from collections.abc import Iterable

from functions.domain.model.incidents import Opinion
from functions.domain.model.observations import NodeOutput

REASON = 200  # characters of the reason
_OPINION = re.compile(r"unstick: (healthy|stuck)(?: (.*))?")


def read_opinion(output: tuple[NodeOutput, ...], host: str) -> Opinion | None:
    """The opinion on this host. `host`: the one that the run was limited to; only it counts, so the run has one node."""
    said = [line.strip() for one in output for line in one.text.splitlines() if line.strip()]
    opinions = [match for line in said if (match := _OPINION.fullmatch(line))]
    if not host or len(output) != 1 or len(opinions) != 1 or not _OPINION.fullmatch(said[-1]):
        return None
    return Opinion(host, opinions[0][1] == "healthy", (opinions[0][2] or "")[:REASON])


def put_first(output: tuple[NodeOutput, ...], host: str) -> tuple[NodeOutput, ...]:
    """The output with that of this host first."""
    return tuple(sorted(output, key=lambda one: one.node != host))


def join_nodes(output: Iterable[NodeOutput]) -> str:
    """The whole output. Of several nodes, each is under its name."""
    written = [one for one in output if one.text]
    return "\n".join(f"{one.node}:\n{one.text}" if len(written) > 1 else one.text for one in written)
