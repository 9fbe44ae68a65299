from functions.adapters.runners.rundeck.checks import check
from functions.adapters.runners.rundeck.client import abort, look, run
from functions.adapters.runners.rundeck.settings import Settings

__all__ = ["Settings", "abort", "check", "look", "run"]
