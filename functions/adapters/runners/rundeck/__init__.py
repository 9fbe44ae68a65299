from functions.adapters.runners.rundeck.client import abort, check, look, run, start_page
from functions.adapters.runners.rundeck.settings import Settings

__all__ = ["Settings", "abort", "check", "look", "run", "start_page"]
