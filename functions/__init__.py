"""Unstick: restarts what an alert found stuck, and reports what that costs.

    Grafana --webhook--> entrypoints (who sent it?) -> application (which runbook, which target?)
                          load + observe -> decide -> wake-up -> save -> act -> save
    scheduler --verify--> the same steps, until the incident ends

`domain` decides and does no I/O. Each outside system has an adapter: one module or package.
"""

__version__ = "1.0.0"
