"""Unstick: an alert that fixes itself, and tells what that costs.

    Grafana --webhook--> grafana.py (who sent it, what it says)
                          runbooks.py (which runbook, which target)
                          flow.py: load + look -> step.py -> wake-up -> save -> act -> save
    scheduler --verify--> flow.py: the same again, until the incident has its outcome

The core (model, step, guards, judge, card, cost) decides and does no I/O. A room is one file for each outside system, in
runners/, symptoms/, stores/, schedulers/ and chats/.
"""
