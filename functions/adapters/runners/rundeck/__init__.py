from functions.adapters.runners.rundeck.client import abort, check, look, run
from functions.adapters.runners.rundeck.settings import Settings

__all__ = ["Settings", "abort", "check", "look", "run"]
