from functions.adapters.runners.rundeck.client import abort, check, check_evidence, look, run, start_page
from functions.adapters.runners.rundeck.evidence import read_evidence, start_evidence
from functions.adapters.runners.rundeck.settings import Settings

__all__ = ["Settings", "abort", "check", "check_evidence", "look", "read_evidence", "run", "start_evidence", "start_page"]
