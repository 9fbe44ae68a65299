"""Prometheus' keys in unstick.yaml, at the top and in a runbook, and the queries built from them for an alert."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated

from msgspec import Struct, field

from functions.adapters.symptoms.prometheus import promql
from functions.domain.decisions.matching import NotRendered, fill_template, refuse_control_characters, shown, template_labels
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.domain.texts.patterns import full_match
from functions.runtime.fields import duration, key, written
from functions.runtime.secrets import SecretRef
from functions.runtime.text import Text, named

SYSTEM = "prometheus"
QUERIES = ("depth", "done", "consumers")
MAX_BYTES = 2000
"""Limit for the filled-in queries of one queue together. A document stores them three times, and a URL contains each twice, with
its selectors. With twenty queues of this length a document is twice as large as its limit, which only costs time."""
ANY_LABEL = r"[^\x00-\x1f]{1,255}"  # the default pattern of a label. It is escaped, so it can't change the query
NAME_SHOWN = 120


class Settings(Struct, frozen=True):
    """`prometheus` in unstick.yaml."""

    url: Annotated[str, written("base-url")]
    """Base URL, without `/api/v1`. For Grafana's proxy: `https://GRAFANA/api/datasources/proxy/uid/UID`."""
    user: str = ""
    """User for basic authentication."""
    password: SecretRef | None = None
    """Password for basic authentication."""
    token: SecretRef | None = None
    """Bearer token, such as a Grafana service account's."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More request headers, such as Mimir's `X-Scope-OrgID`. Secrets are refused here."""
    ca: str = ""
    """Certificates to trust (PEM file or folder) for a private CA."""


class Symptom(Struct, frozen=True, rename=key):
    """The keys of `symptom: {prometheus: ...}` in a runbook."""

    depth: Annotated[str, written("template")]
    """PromQL of one series: jobs that wait or are being worked on. Put `${labels.NAME}` inside quotes."""
    done: Annotated[str, written("template")] | None = None
    """PromQL of one series: a counter of finished jobs. Default: a falling depth counts as work."""
    consumers: Annotated[str, written("template")] | None = None
    """PromQL of one series: the number of workers. Default: only work proves that there is one."""
    name: Annotated[str, written("template")] | None = None
    """The name in messages. Default: the values of the labels."""
    allow: Mapping[str, Annotated[str, written("pattern")]] = field(default_factory=dict)
    """By label: the pattern for its whole value. Default: any 255 characters, escaped."""
    max_messages: int = 0
    """Not stuck up to this depth."""
    for_s: Annotated[float, duration(1, 3600)] = 60.0
    """Stuck only if nothing was done for this long."""
    max_age_s: Annotated[float, duration(1, 3600)] = 120.0
    """Older figures count as unknown. Use at least two scrape intervals."""
    delay_s: Annotated[float, duration(0, 3600)] = 5.0
    """Added to the age of a figure, for exporters that cache."""

    def to_symptom(self) -> runbooks.Symptom:
        own = {query: template for query in (*QUERIES, "name") if (template := getattr(self, query)) is not None}
        times = {"max_age": f"{self.max_age_s:g}", "delay": f"{self.delay_s:g}"}
        return runbooks.Symptom(SYSTEM, own | times, self.max_messages, self.for_s, self.allow)

    def find_mistakes(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong with it, how to fix it) of each mistake that the types can't express."""
        symptom = self.to_symptom()
        for query in QUERIES:
            try:
                if query in symptom.keys:
                    promql.selectors(promql.fill(symptom.keys[query], lambda _: "a"))
            except ValueError as error:
                yield (query, str(error), "Write PromQL that gives one series, with ${labels.NAME} only inside of quotes")
        used = {label for template in symptom.keys.values() for label in template_labels(template)}
        for label in symptom.allow.keys() - used:
            yield "allow", f"limits the label {label}, which no query here takes", f"Labels: {', '.join(sorted(used)) or 'none'}"


def name_queue(symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
    """The queries for an alert with these labels. Raises NotRendered."""
    keys = {
        query: promql.fill(symptom.keys[query], partial(_value, query=query, symptom=symptom, labels=labels))
        for query in QUERIES
        if query in symptom.keys
    }
    size = sum(len(query.encode()) for query in keys.values())
    if size > MAX_BYTES:
        raise NotRendered(Text("the queries have {count} bytes, the limit is {limit}", count=size, limit=MAX_BYTES))
    name = _name(symptom, labels)
    made_of = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:12]
    times = {one: symptom.keys[one] for one in ("max_age", "delay")}
    return QueueRef(SYSTEM, f"{SYSTEM}:{made_of}:{name}", name, keys | times)


def _value(label: str, query: str, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> str:
    value = fill_template(f"${{labels.{label}}}", labels, query)
    what = Text("{what}, label {label}", what=query, label=shown(label))
    refuse_control_characters(value, what)
    if not full_match(symptom.allow.get(label, ANY_LABEL), value):
        raise NotRendered(named(what, Text("it does not match its `allow` pattern: {value}", value=shown(value))))
    return value


def _name(symptom: runbooks.Symptom, labels: Mapping[str, str]) -> str:
    if "name" in symptom.keys:
        name = fill_template(symptom.keys["name"], labels, "name")
        refuse_control_characters(name, "name")
        return name[:NAME_SHOWN]
    used = dict.fromkeys(label for query in QUERIES for label in template_labels(symptom.keys.get(query, "")))
    return (" ".join(labels[label] for label in used) or symptom.keys["depth"])[:NAME_SHOWN]
