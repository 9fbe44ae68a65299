"""Shared by the `check` of all symptoms."""

from collections.abc import Mapping

from functions.application.ports import Finding
from functions.domain.decisions.matching import NotRendered, template_labels
from functions.domain.model.runbooks import Symptom


def explain_refusal(what: str, symptom: Symptom, labels: Mapping[str, str], refusal: NotRendered) -> Finding:
    """The line for what these labels don't name: unknown as long as one is missing, which an alert has."""
    names = dict.fromkeys(name for template in symptom.keys.values() for name in template_labels(template))
    missing = [name for name in names if not labels.get(name)]
    if not missing:
        remedy = "An alert with these labels restarts nothing: fix the label in the alert, or `symptom` in the runbook."
        return Finding(what, False, refusal.text, remedy)
    detail = f"its name comes with the alert; missing here: the label{'s' * (len(missing) > 1)} {' and '.join(missing)}"
    return Finding(what, None, detail, "To check one, add: " + " ".join(f"--label {name}=..." for name in missing))
