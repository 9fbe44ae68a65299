"""Core: the catalogue of the approval page, in English and Japanese side by side. `{name}` is filled in by `say`."""

# ruff: noqa: E501 - a phrase stays on its line, and a Japanese character counts as two columns

from __future__ import annotations

from collections.abc import Mapping

PHRASES: Mapping[str, tuple[str, str]] = {
    # the page that asks
    "ask": ("Restart {subject}?", "{subject} を再起動しますか？"),
    "changes_nothing": ("Opening this page has changed nothing.", "このページを開いただけでは何も変わりません。"),
    "overrule": (
        "You would overrule Unstick here: it does not restart this by itself.",
        "Unstick は自動では再起動しません。承認すると、この判断を上書きします。",
    ),
    "button": ("Restart {subject} now", "{subject} を今すぐ再起動"),
    "until": (
        "The button works once, until {until} (for another {left}).",
        "ボタンは1回限り、{until}まで有効です（残り{left}）。",
    ),
    "still_held": (
        "Even then nothing is restarted if the kill switch is on, the queue is well by then, or RabbitMQ or Rundeck can't be read.",
        "承認しても、停止スイッチがオンのとき、キューが正常に戻ったとき、RabbitMQ か Rundeck を読み取れないときは再起動しません。",
    ),
    "now": ("Right now", "現在の状態"),
    "seen_at": (
        "Read from RabbitMQ at {at}. Load the page again for newer figures.",
        "{at} に RabbitMQ から取得。再読み込みで更新されます。",
    ),
    "paused": (
        "The kill switch is on: the button would restart nothing. {why}",
        "停止スイッチがオンです。ボタンを押しても再起動しません。{why}",
    ),
    "pause_unread": (
        "The kill switch can't be read, so the button would restart nothing.",
        "停止スイッチを読み取れないため、ボタンを押しても再起動しません。",
    ),
    "all_well": (
        "No queue is stuck: the button would restart nothing.",
        "滞留しているキューはありません。ボタンを押しても再起動しません。",
    ),
    "unread": ("RabbitMQ can't be read: {why}", "RabbitMQ を読み取れません：{why}"),
    "ill": ("Stuck", "滞留中"),
    "well": ("Not stuck", "滞留なし"),
    "unsure": ("Not clear yet whether it is stuck", "滞留かどうかはまだ不明"),
    "state": ("State", "状態"),
    "messages": ("Messages", "メッセージ"),
    "of_them": ("{depth} ({ready} ready, {unacked} unacknowledged)", "{depth}件（待機{ready}件、未応答{unacked}件）"),
    "consumers": ("Consumers", "コンシューマー"),
    "acked": ("Acknowledged", "応答"),
    "acked_within": ("{count} in the last {span}", "直近{span}で{count}件"),
    "oldest": ("Oldest message", "最古のメッセージ"),
    "curve": ("Depth over the last {span}: {first} → {last}", "直近{span}の滞留数：{first} → {last}件"),
    "more_queues": ("and {count} more queues", "ほか{count}キュー"),
    "what": ("What it is about", "概要"),
    "log": ("End of the last job's log", "前回のジョブログの末尾"),
    "links": ("Where to look", "確認先"),
    # what came of the button
    "restarted": ("{subject} is being restarted", "{subject} を再起動しています"),
    "restarted_text": (
        "Unstick watches the queue and reports the result in the chat. You can close this page.",
        "結果は Unstick が確認し、チャットに報告します。このページは閉じて構いません。",
    ),
    "unanswered": ("Rundeck has not answered yet", "Rundeck の応答を待っています"),
    "unanswered_text": (
        "It may have started or not. Unstick finds out within two minutes and goes on from there; don't start it by hand before.",
        "開始されたかどうかは不明です。2分以内に Unstick が確認して続行します。それまで手動で開始しないでください。",
    ),
    "adopted": ("{subject} is being restarted already", "{subject} は既に再起動中です"),
    "held": ("{subject} was not restarted", "{subject} は再起動していません"),
    "waits": ("Unstick looks again by itself and reports in the chat.", "Unstick が自動で再確認し、チャットに報告します。"),
    "recorded": ("Recorded as approved by: {by}", "承認者の記録：{by}"),
    "by_link": ("whoever had the link", "リンクを開いた人"),
    "by_unverified": ("{who} (not verified)", "{who}（未検証）"),
    # links that no longer work
    "expired": ("This link has expired", "リンクの有効期限が切れています"),
    "expired_text": (
        "Nothing was done now. The chat says what became of it, and has newer messages if the alert still fires.",
        "今は何もしていません。結果はチャットにあります。アラートが続いていれば、チャットの新しい通知を確認してください。",
    ),
    "forged": ("This link is not valid", "リンクが正しくありません"),
    "forged_text": (
        "Open it exactly as it stands in the message. Nothing was changed.",
        "通知に記載のとおりに開いてください。何も変更していません。",
    ),
    "used": ("This link was used already", "このリンクは使用済みです"),
    "used_text": ("It was approved by {by}. Nothing more was done now.", "承認者：{by}。今回は何も行っていません。"),
    "phase": ("The incident is now: {phase}.", "インシデントの現在の状態：{phase}"),
    "over": ("This link is no longer needed", "このリンクは不要になりました"),
    "over_text": (
        "The incident ended at {at}: {ending}. Nothing more was done now.",
        "インシデントは {at} に終了しました（{ending}）。今回は何も行っていません。",
    ),
    "unknown_text": (
        "The incident that it was for is over. Nothing was done now.",
        "対象のインシデントは終了しています。今回は何も行っていません。",
    ),
    "newer": ("A newer link has been sent", "新しいリンクが送られています"),
    "newer_text": (
        "Unstick asked anew since. Use the link of the newest message; this one does nothing.",
        "その後、改めて承認を求めています。最新の通知のリンクを使ってください。このリンクは無効です。",
    ),
    "deferred": ("being decided", "判断中"),
    "asked": ("waiting for an approval", "承認待ち"),
    "waiting": ("waiting", "待機中"),
    "starting": ("being started", "開始中"),
    "running": ("restarting", "再起動中"),
    "verifying": ("restarted, being watched", "再起動済み、確認中"),
    "ended_recovered": ("recovered", "復旧"),
    "ended_escalated": ("handed to people", "人へ引き継ぎ"),
    "ended_held": ("not restarted", "再起動なし"),
    # what went wrong
    "foreign": ("The button was pressed on another site's page", "別のサイトのページから操作されました"),
    "foreign_text": (
        "Open the link from the message and press the button there. Nothing was changed.",
        "通知のリンクを開き、そのページのボタンを押してください。何も変更していません。",
    ),
    "large": ("The request was too large", "リクエストが大きすぎます"),
    "large_text": ("Nothing was changed.", "何も変更していません。"),
    "failed": ("Unstick could not do this just now", "現在処理できません"),
    "failed_text": (
        "A system that it needs does not answer. Load the page again in a moment: it tells whether anything was done.",
        "必要なシステムが応答していません。少し待って再読み込みすると、実行されたかどうかを確認できます。",
    ),
}


def say(language: str, key: str, **values: object) -> str:
    """The phrase in this language (English where it is not known), filled in. The values stay as they are."""
    en, ja = PHRASES[key]
    return (ja if language == "ja" else en).format(**values)
