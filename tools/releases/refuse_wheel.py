"""Hatch's hook that refuses `pip install .`: it would put a package named `functions` beside those of strangers."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WHY = (
    "Unstick is not installed by pip: its package `functions` could hide one of your own. "
    "Use the checkout or the release's archive: `make setup`, then .venv/bin/unstick; on a server, see docs/deploy.md."
)


class RefuseWheel(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Allow only the link that `make setup` makes. Raises SystemExit otherwise."""
        del build_data
        if version != "editable":
            raise SystemExit(WHY)
