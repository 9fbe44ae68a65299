"""The runner `command`: programs on this machine, without Rundeck."""

from functions.adapters.runners.command.client import Command
from functions.application.ports import Runner

__all__ = ["ADAPTER", "Command"]

ADAPTER: type[Runner] = Command
