"""Finds lines that are the same but for numbers and names, by Drain (https://jiemingzhu.github.io/pub/pjhe_icws2017.pdf).

The library is only for the command line: docs/decisions/causes.md says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

LINES, LINE = 1500, 400
"""At most so many different lines of a sample, and so many characters of a line. A line costs 25 µs, and up to 1.5 ms where no
two lines are alike (measured)."""
ALIKE = 0.75
"""The share of words that two lines of one template have in common. Drain's own 0.4 takes `relay-2: timed out` and
`relay-2: sent mail` for the same."""
MASKS = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "time"),
    (r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d+ \d\d:\d\d:\d\d", "time"),
    (r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", "time"),
    (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "id"),
    (r"\b0x[0-9a-fA-F]+\b", "address"),
    (r"(?<=[\]\d]):(?:3[2-9]\d{3}|[45]\d{4}|6[0-5]\d{3})\b", "port"),  # those that a system gives out for one connection
    (r"(?<=\bpid=)\d+|(?<=\bfd=)\d+|(?<=\bpid )\d+|(?<=\[)\d{2,}(?=\])", "number"),
    (r"(?<![\w.:/-])(?<!line )\d+(?:\.\d+)?(?![\w:/.-]*\w)", "number"),
)
"""What differs from run to run. The number of a line of code says where it hangs, so it stays."""


def mine(samples: Sequence[Sequence[str]], advance: Callable[[], object] = bool) -> list[frozenset[str]]:
    """The templates of each sample's lines. Templates are those of all samples together, so that they can be compared.

    `advance` is called after each sample.
    """
    from drain3.masking import MaskingInstruction
    from drain3.template_miner import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.drain_sim_th = ALIKE
    config.masking_instructions = [MaskingInstruction(pattern, name) for pattern, name in MASKS]
    miner = TemplateMiner(config=config)
    clusters: list[set[int]] = []
    for sample in samples:
        lines = dict.fromkeys(line[:LINE] for line in sample if any(character.isalpha() for character in line))
        clusters.append({int(miner.add_log_message(line)["cluster_id"]) for line in list(lines)[:LINES]})
        advance()
    templates = {cluster.cluster_id: cluster.get_template() for cluster in miner.drain.clusters}
    return [frozenset(templates[cluster] for cluster in those) for those in clusters]
