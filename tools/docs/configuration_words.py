"""The sentences of docs/configuration.md and unstick.schema.json that do not stand beside a field."""

from __future__ import annotations

INTRODUCTION = """# Configuration

This page is written by `python -m tools.docs.configuration_page` from the types that read the file; edit those.

`UNSTICK_CONFIG` names the file; without it, it is `unstick.yaml` in the working folder. It is read once, when a process
starts; for the cloud, when the archive is built. All mistakes are told at once, each with its line, and nothing starts or is
deployed with one. `unstick.schema.json` gives editors completion and checks as you type.

A working example, which is the one in the repository:
"""

EXPLAINED = """## How values are written

- **Secrets** are references, never values: `env://NAME`, `file://PATH` or `sm://PROJECT/NAME[/VERSION]` (Secret
  Manager). One newline at the end of what a file or Secret Manager has is not part of it. It is kept for five minutes, and
  read again when a system says that it is wrong, at most once a minute. While Secret Manager is down, the last known value
  goes on. What the folder `UNSTICK_SECRETS_DIR` has as PROJECT/NAME/VERSION is read there in place of Secret Manager, as
  [infra/](../infra/README.md) mounts Grafana's.
- **Durations** are `30s`, `5m`, `1h`, `2d`, or a plain number of seconds.
- **Matchers** have Alertmanager's syntax: `service="mail"`, `queue!="dead"`, `queue=~"mail-.*"`, `env!~"test|dev"`. A
  label that is missing is the empty string. Regular expressions are RE2's and must match the whole value; one is not applied
  to a value of more than 1,024 characters, and the runbook then does not match.
- **Templates** (`options`, `vhost`, `queue`) take a label of the alert as `${labels.NAME}`. Nothing else is filled in
  anywhere. A value for an option has at most 1,024 characters, one for a queue or vhost 255 bytes, and no control characters.
- Texts are taken as they stand: `no` is the text no, `10:00` the text 10:00. YAML's merge keys (`<<`) and tags are refused;
  an alias may stand for a whole value.
"""

SECTIONS = {
    "The top of the file": "Besides these the runner (`rundeck:`) and the symptoms (`rabbitmq:`), see Runners and Symptoms.",
    "grafana.auth": "Any one that matches lets a request in. At least one is needed.",
    "runbooks[]": "The first runbook that matches, in this order, takes the alert.",
    "runbooks[].verify": "All times count from the end of the restart.",
}

MISTAKES = """## Checks that several keys need together

- `notify`, `escalate` and `report.channels` name channels that exist; names of runbooks are unique.
- An option that takes a label has an `allow` pattern; Unstick's own options are not set by hand.
- `mode: approve` needs `public_url`.
- `first`, `every` and `patience` are at most `within`.
- A runbook's symptom is configured at the top of the file.
- On Cloud Run (`K_SERVICE` is set) neither store nor scheduler may be `local`.

`python -m functions check` looks further: at runbooks that hide each other, and at every system with its permissions.
"""

WORDS = {
    ("Settings", "token"): "Where the token is.",
    ("Settings", "password"): "Where the password is.",
    ("Settings", "user"): "Whose password it is.",
    ("Settings", "ca"): "File or folder of certificates (PEM) to trust instead of the usual ones, for a private CA.",
    ("Annotations", "ca"): "As of `rundeck`.",
    (
        "Settings",
        "token_expires",
    ): "When Rundeck's token expires (RFC 3339, with its zone). People hear it a week and a day before; `rotate-token` keeps it.",
    ("Settings", "incident_option"): "The job's option that takes INCIDENT.ATTEMPT.",
    ("Settings", "not_after_option"): "The job's option that takes the Unix time after which it must refuse to start.",
    ("File", "grafana"): "Who may send notifications, and how large they may be.",
    ("File", "store"): "Where documents and the archive are kept.",
    ("File", "scheduler"): "What delivers wake-ups.",
    ("File", "signing_keys"): "Sign wake-ups and approval links. The newest first: it signs, all of them verify.",
    ("File", "channels"): "Chats, by a name that the rest of the file uses.",
    ("File", "runbooks"): "Which alert restarts what. Without one, every alert is held with `no_runbook` and told.",
    ("File", "public_url"): "Where this function is reached from a browser, for approval links; never taken from a request.",
    ("File", "storm"): "Holds restarts when too many targets need one at once: then a shared cause is likelier.",
    (
        "Settings",
        "approval_links",
    ): "Whether approval links are printed where the output is not a terminal. Whoever reads that log can approve.",
    (
        "File",
        "open_to_network",
    ): "Whether `verify` and `report` answer other machines. Cloud Run checks its callers itself, so it matters elsewhere only.",
    ("File", "budget_s"): "How long the webhook may work before it leaves the rest to wake-ups.",
    ("File", "notify"): "Channels of what belongs to no runbook, and of runbooks that name none.",
    ("File", "language"): "Of what people are told.",
    ("File", "time_zone"): "Of freeze windows and of the times that people are told.",
    ("File", "report"): "The regular report of what the bug costs.",
    ("Grafana", "auth"): "How a sender proves who it is.",
    ("Grafana", "max_body"): "Largest notification; 1,000 alerts are 2.6 MB.",
    ("Auth", "hmac"): "Grafana's HMAC signature.",
    ("Auth", "basic"): "User and password, for Grafana and Alertmanager.",
    ("Auth", "bearer"): "A token, for Grafana and Alertmanager.",
    ("Hmac", "secrets"): "Any one may have signed; two while one replaces the other.",
    ("Hmac", "header"): "Carries the signature.",
    ("Hmac", "timestamp_header"): "Carries the time that is signed too. `null`: none is signed, and replays are not refused.",
    ("Hmac", "tolerance_s"): "How far the timestamp may be off, both ways.",
    ("Basic", "user"): "As in the contact point.",
    ("Basic", "passwords"): "Any one lets in; two while one replaces the other.",
    ("Bearer", "tokens"): "Any one lets in; two while one replaces the other.",
    ("Bearer", "scheme"): "What stands before the token in the Authorization header, such as `ApiKey`.",
    ("StormKeys", "targets"): "As many targets may have a first restart within the time; the next one is held.",
    ("StormKeys", "within_s"): "The time that `targets` is counted over.",
    ("Annotations", "url"): "Grafana's address, as in a browser.",
    ("Annotations", "token"): "Of a service account that may create annotations.",
    ("Grafana", "annotations"): "Makes each restart and outcome an annotation, so that dashboards show it.",
    ("Report", "channels"): "Where it is told.",
    ("Report", "every"): "What it covers.",
    ("Runbook", "name"): "Unique; people, logs and the archive know the runbook by it.",
    ("Runbook", "match"): "All of them must match the alert's labels.",
    ("Runbook", "restart"): "What is restarted.",
    ("Runbook", "symptom"): "What must be seen to be ill before anything is restarted.",
    ("Runbook", "mode"): "`observe` says what it would have done, `approve` asks a person, `auto` restarts.",
    ("Runbook", "recovered"): "What is well again.",
    ("Runbook", "verify"): "When to look after the restart, and for how long.",
    ("Runbook", "limits"): "What holds a restart.",
    ("Runbook", "freeze"): "Times without restarts, in `time_zone`. `days`: `daily`, `mon-fri`, `'sat,sun'`. `to` before `from` "
    "is on the next day.",
    ("Runbook", "notify"): "Channels of this runbook; else the top-level `notify`.",
    ("Runbook", "escalate"): "Channels that are told on top when a person is needed.",
    ("Runbook", "mention"): "Who is mentioned when a person is needed, as the chat writes it: `<users/all>`, `<!here>`.",
    ("Runbook", "root_cause"): "Link to the ticket of the bug itself, so that nobody forgets it.",
    ("Runbook", "manual_minutes"): "How long the restart takes a person by hand, for the report.",
    ("Restart", "job"): "Id of the job.",
    ("Restart", "options"): "The job's options. Job and options together are the target.",
    ("Restart", "allow"): "By option: what its whole value must match. Required for an option that takes a label.",
    ("Restart", "start_within_s"): "The job refuses to start later than this after the decision.",
    ("Restart", "max_run_s"): "A run that takes longer is told as stuck.",
    ("SymptomKeys", "vhost"): "RabbitMQ's virtual host.",
    ("SymptomKeys", "queue"): "The queue's name.",
    ("SymptomKeys", "max_messages"): "Ill is what has more messages (ready and unacknowledged) than this,",
    ("SymptomKeys", "for_s"): "and for all of this time nothing acknowledged, or no consumer.",
    ("Recovered", "max_messages"): "At most this many messages,",
    ("Recovered", "min_consumers"): "and at least this many consumers.",
    ("Verify", "first_s"): "The first look.",
    ("Verify", "every_s"): "From look to look. Recovered needs two of them.",
    ("Verify", "patience_s"): "Without any movement for this long, the restart has not helped.",
    ("Verify", "within_s"): "The end of looking.",
    ("Limits", "cooldown_s"): "Between two incidents of a target.",
    ("Limits", "attempts"): "Restarts of one incident; then it is escalated.",
    ("Limits", "restarts"): "Restarts of a target, manual ones included, that fill a window of time.",
    ("Limits", "failing"): "As many failed executions in a row hold the next.",
    ("Limits", "stale_s"): "An alert that began longer ago restarts nothing.",
}
