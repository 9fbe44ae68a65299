"""Core: the catalogue of the report, in English and Japanese side by side. `{name}` is filled in by `say`."""

# ruff: noqa: E501 - a phrase stays on its line, and a Japanese character counts as two columns

from __future__ import annotations

from collections.abc import Mapping

PHRASES: Mapping[str, tuple[str, str]] = {
    "head": (
        "restarts in {days} days: {by_unstick} by Unstick, {by_hand} by hand",
        "過去{days}日間の再起動：Unstick {by_unstick}回、手動{by_hand}回",
    ),
    "head_known": (
        "restarts known of in {days} days: {by_unstick} by Unstick, {by_hand} by hand",
        "過去{days}日間に確認できた再起動：Unstick {by_unstick}回、手動{by_hand}回",
    ),
    "head_quiet": ("nothing had to be restarted in {days} days", "過去{days}日間、再起動はありませんでした"),
    "head_quiet_known": (
        "no restart is known of in {days} days, but not everything could be seen",
        "過去{days}日間、確認できた再起動はありません（一部は未確認）",
    ),
    "head_loud": (
        "{runbook} has kept sticking for {weeks}, and the bug is still there",
        "{runbook} は{weeks}、滞留を繰り返しています（不具合は未解決）",
    ),
    "weeks_open": ("{count} weeks", "{count}週間"),
    "weeks_open_1": ("1 week", "1週間"),
    "restarts": ("{count} restarts", "{count}回"),
    "restarts_1": ("1 restart", "1回"),
    "open_1": ("{runbook}: the bug behind it is still open: {cause}", "{runbook}：根本原因は未解決です：{cause}"),
    "open_more": (
        "{marks} {runbook}: still open after {weeks} and {restarts} in the last 30 days: {cause}",
        "{marks} {runbook}：{weeks}経っても未解決です（直近30日間の再起動{restarts}）：{cause}",
    ),
    "missing_1": (
        "{runbook}: nobody owns the bug yet. Open a ticket and put its link into the runbook as root_cause.",
        "{runbook}：不具合の担当が決まっていません。チケットを作り、runbook の root_cause にリンクを書いてください。",
    ),
    "missing_more": (
        "{marks} {runbook}: after {weeks} and {restarts} in the last 30 days still nobody owns the bug. Open a ticket and put its link into the runbook as root_cause.",
        "{marks} {runbook}：{weeks}経ち、直近30日間に{restarts}再起動しても、不具合の担当が決まっていません。チケットを作り、runbook の root_cause にリンクを書いてください。",
    ),
    "held_unacked": (
        "{runbook}: likely a consumer that holds messages without acknowledging them ({incidents} of {of} incidents). RabbitMQ's consumer_timeout (30 min by default; from 4.3 on for quorum queues only) would cut it off and requeue what it holds; a shorter one would do so before people notice.",
        "{runbook}：コンシューマーがメッセージを受け取ったまま応答していない可能性が高いです（{of}件中{incidents}件）。RabbitMQ の consumer_timeout（既定30分、4.3以降はクォーラムキューのみ）はこれを切断し、メッセージをキューに戻します。短くすれば、人が気付く前に効きます。",
    ),
    "no_consumer": (
        "{runbook}: likely the application loses its connection and does not come back: there was no consumer ({incidents} of {of} incidents). Let it reconnect by itself, or end so that its supervisor starts it anew.",
        "{runbook}：接続が切れたまま戻っていない可能性が高いです（コンシューマーなし、{of}件中{incidents}件）。自動で再接続させるか、終了させて監視側に再起動させてください。",
    ),
    "archive_begins": (
        "The archive begins on {date}; what was before is not counted.",
        "アーカイブは{date}からです。それ以前は数えていません。",
    ),
    "archive_empty": (
        "The archive is empty: no incident has ended yet.",
        "アーカイブは空です。終了したインシデントはまだありません。",
    ),
    "archive_broken": (
        "{count} archived incidents can't be read and are not counted.",
        "読み取れない記録が{count}件あり、数えていません。",
    ),
    "archive_broken_1": ("1 archived incident can't be read and is not counted.", "読み取れない記録が1件あり、数えていません。"),
    "history_begins": (
        "Rundeck's history of {about} shows nothing before {date}. If it was cleaned up, restarts by hand before that are missing here.",
        "{about} の Rundeck の履歴には{date}より前の実行がありません。削除されている場合、それ以前の手動の再起動は数えていません。",
    ),
    "history_unasked": (
        "Rundeck's history was not looked at for {about}: no alert has named a target yet. Restarts by hand are not counted there.",
        "{about} については Rundeck の履歴を見ていません。対象を示すアラートがまだないためで、手動の再起動は数えていません。",
    ),
    "history_short": (
        "Rundeck's history of {about} reaches back to {date} only: restarts by hand before that are not counted.",
        "{about} の Rundeck の履歴は{date}からです。それ以前の手動の再起動は数えていません。",
    ),
    "history_unread": (
        "Rundeck's history can't be read, so restarts by hand are not counted: {about}",
        "Rundeck の履歴を読めないため、手動の再起動は数えていません：{about}",
    ),
    "older_unread": (
        "The older part of the archive could not be read in time: the bug may be older than is said here.",
        "古いアーカイブを時間内に読めませんでした。不具合はここに書かれているより古い可能性があります。",
    ),
    "targets_unread": (
        "Not all of Unstick's documents could be read, so restarts by hand of some targets may be missing here.",
        "Unstick の文書をすべては読めなかったため、一部の対象の手動の再起動を数えていません。",
    ),
    "more_gaps": ("{count} more of these are in the report's JSON.", "ほか{count}件はレポートの JSON にあります。"),
    # facts
    "days": ("{runbook}, {days} days", "{runbook}（{days}日間）"),
    "counts": (
        "restarts: {by_unstick} by Unstick, {by_hand} by hand; incidents: {recovered} recovered, {escalated} escalated, {held} held",
        "再起動：Unstick {by_unstick}回、手動{by_hand}回／インシデント：復旧{recovered}件、エスカレーション{escalated}件、保留{held}件",
    ),
    "median": ("; median time to recovery {took}", "／復旧までの中央値{took}"),
    "saved": ("; saved about {saved}", "／節約した時間 約{saved}"),
    "weeks": ("Restarts per week", "週ごとの再起動"),
    "trend": ("Last {days} days", "直近{days}日間"),
    "hours": ("Times of day", "時間帯"),
    "mostly": ("mostly at {hours}", "多い時間帯：{hours}"),
    "more": ("and {count} more runbooks", "ほか{count}件の runbook"),
    "more_1": ("and 1 more runbook", "ほか1件の runbook"),
    "quiet": ("Quiet", "再起動なし"),
    # chart
    "title": ("What the bug costs, until {date}", "不具合のコスト（{date}まで）"),
    "by_unstick": ("by Unstick", "Unstick"),
    "by_hand": ("by hand", "手動"),
    "chart_days": ("restarts per day, highest {most}", "日ごとの再起動（最大{most}回）"),
    "chart_hours": ("by the hour of the day", "時間帯別"),
    "chart_sum": ("30 days: {by_unstick} by Unstick, {by_hand} by hand", "30日間：Unstick {by_unstick}回、手動{by_hand}回"),
}


def say_counted(language: str, key: str, count: int) -> str:
    """The phrase with its count, in the singular where it is one."""
    return say(language, f"{key}_1" if count == 1 else key, count=f"{count:,}")


def say(language: str, key: str, **values: object) -> str:
    """The phrase in this language (English where it is not known), filled in. The values stay as they are."""
    en, ja = PHRASES[key]
    return (ja if language == "ja" else en).format(**values)
