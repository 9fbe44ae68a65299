"""Shared by the `check` of all symptoms."""

from collections.abc import Mapping

from functions.domain.decisions.matching import template_labels
from functions.domain.model.runbooks import Symptom


def find_missing(symptom: Symptom, labels: Mapping[str, str]) -> tuple[list[str], str]:
    """The labels that the symptom's keys name and that are missing here, and the options of `check` that give them."""
    names = dict.fromkeys(name for template in symptom.keys.values() for name in template_labels(template))
    missing = [name for name in names if not labels.get(name)]
    return missing, " ".join(f"--label {name}=..." for name in missing)
