"""Unstick: an alert that fixes itself, and says what that costs.

    Grafana --webhook--> entrypoints (who sent it?) -> application (which runbook, which target?)
                          load + observe -> decide -> wake-up -> save -> act -> save
    scheduler --verify--> the same again, until the incident has its outcome

`domain` decides and does no I/O. An adapter is one module or package for each outside system.
"""

__version__ = "1.0.0"
