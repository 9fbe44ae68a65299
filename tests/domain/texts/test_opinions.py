"""What an evidence job wrote, by node."""

from __future__ import annotations

import pytest

from functions.domain.model.incidents import Opinion
from functions.domain.model.observations import NodeOutput
from functions.domain.texts.opinions import REASON, join_nodes, put_first, read_opinion

ONE, OTHER = NodeOutput("worker-1", "stack of 1"), NodeOutput("worker-2", "stack of 2")


def test_each_node_s_lines_are_under_its_name_and_the_one_that_hangs_comes_first():
    """One node needs no name; a node that wrote nothing has no line."""
    assert join_nodes(put_first((ONE, OTHER), "worker-2")) == "worker-2:\nstack of 2\nworker-1:\nstack of 1"
    assert put_first((OTHER, ONE), f"worker-{1}") == (ONE, OTHER)
    assert join_nodes(put_first((ONE, OTHER), "10.0.3.7")) == "worker-1:\nstack of 1\nworker-2:\nstack of 2"
    assert join_nodes((ONE, NodeOutput("worker-2", ""))) == "stack of 1"
    assert join_nodes(()) == ""


@pytest.mark.parametrize(
    ("text", "host", "opinion"),
    [
        ("a\nunstick: healthy 3 countdowns", "10.0.3.7", Opinion("10.0.3.7", True, "3 countdowns")),
        ("unstick: stuck send_mail\n\n", "10.0.3.7", Opinion("10.0.3.7", False, "send_mail")),
        ("unstick: healthy", "10.0.3.7", Opinion("10.0.3.7", True, "")),
        (f"unstick: stuck {'x' * 300}", "10.0.3.7", Opinion("10.0.3.7", False, "x" * REASON)),
        ("unstick: healthy 3 countdowns", "", None),
        ("unstick: healthy\nunstick: stuck", "10.0.3.7", None),
        ("unstick: stuck\nmore", "10.0.3.7", None),
        ("> unstick: stuck", "10.0.3.7", None),
        ("", "10.0.3.7", None),
    ],
)
def test_an_opinion_is_the_last_line_of_a_run_that_was_limited_to_one_host(text, host, opinion):
    """One opinion, and the host that the run was limited to."""
    assert read_opinion((NodeOutput("worker-1", text),), host) == opinion
    assert read_opinion((OTHER, NodeOutput("worker-1", text)), host) is None
