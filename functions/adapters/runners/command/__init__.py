"""Commands on this machine, without a system that runs jobs."""

from functions.adapters.runners.command.client import Command
from functions.application.ports import Runner

__all__ = ["ADAPTER", "Command"]

ADAPTER: type[Runner] = Command
