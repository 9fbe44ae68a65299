from functions.adapters.runners.rundeck.client import Settings, abort, check, look, run

__all__ = ["Settings", "abort", "check", "look", "run"]
