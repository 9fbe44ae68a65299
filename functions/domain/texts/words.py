"""Core: the catalogue of all words that people read in cards, in English and Japanese side by side.

The words of the reason codes are in reasons.py. `{name}` is filled in by `say`.
"""
# ruff: noqa: E501 - a phrase stays on its line, and a Japanese character counts as two columns

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "ja")

PHRASES: Mapping[str, tuple[str, str]] = {
    # urgency: the first words of every headline say whether anybody must get up
    "act": ("ACT NOW", "至急対応"),
    "watch": ("No action yet", "まだ対応不要"),
    "plan": ("In working hours", "業務時間内に対応"),
    "fine": ("No action needed", "対応不要"),
    "shortened": ("… (shortened)", "…（省略）"),
    "unnamed": ("a target without a name", "名前のない対象"),
    # how sentences and lists are put together
    "comma": (", ", "、"),
    "colon": (": ", "："),
    "in_brackets": ("{text} ({more})", "{text}（{more}）"),
    # headlines, after the urgency
    "head_started": ("restarting {subject} (try {attempt} of {attempts})", "{subject} を再起動中（{attempts}回中{attempt}回目）"),
    "head_adopted": (
        "{subject} is being restarted already, Unstick checks the result",
        "{subject} は既に再起動中（結果は Unstick が確認）",
    ),
    "head_held": ("{subject} was not restarted: {why}", "{subject} を再起動していません：{why}"),
    "head_waiting": ("{subject} is not restarted yet: {why}", "{subject} の再起動を待っています：{why}"),
    "head_asked": ("{subject} waits for your approval", "{subject} が承認を待っています"),
    "head_overrule": (
        "{subject} was not restarted, you may overrule it: {why}",
        "{subject} を再起動していません（承認で実行可）：{why}",
    ),
    "head_observed": (
        "Unstick would have restarted {subject}, but only watches it",
        "{subject} を再起動する場面ですが監視のみの設定です",
    ),
    "head_well": ("{subject} is well, nothing was restarted", "{subject} は正常です（再起動なし）"),
    "head_plain": ("{subject}: {why}", "{subject}：{why}"),
    "head_draining": ("{subject} is moving again, {left} left", "{subject} は処理を再開、残り{left}件"),
    "head_recovered": ("{subject} recovered in {took}", "{subject} は{took}で復旧しました"),
    "head_recovered_plain": ("{subject} recovered", "{subject} は復旧しました"),
    "head_still_stuck": (
        "{subject} is still stuck after {restarts} restarts",
        "{subject} は{restarts}回再起動しても滞留したままです",
    ),
    "head_still_stuck_1": ("{subject} is still stuck after a restart", "{subject} は再起動しても滞留したままです"),
    "head_escalated": ("{subject} needs a person: {why}", "{subject} は人の対応が必要です：{why}"),
    "head_escalated_plain": ("{subject} needs a person", "{subject} は人の対応が必要です"),
    "head_resolved": ("the alert of {subject} is resolved", "{subject} のアラートは解消しました"),
    "head_not_approved": (
        "{subject} was not restarted: nobody approved it in time",
        "{subject} を再起動していません：期限内に承認がありませんでした",
    ),
    "head_not_approved_again": (
        "{subject} was not restarted again: nobody approved it in time",
        "{subject} をもう一度は再起動していません：期限内に承認がありませんでした",
    ),
    "head_test": ("the test notification arrived", "テスト通知が届きました"),
    "head_bundle_test_1": ("a test notification arrived", "テスト通知が1件届きました"),
    "head_bundle_test": ("{count} test notifications arrived", "テスト通知が{count}件届きました"),
    "head_bundle_1": ("one target or alert was not restarted: {why}", "1件を再起動していません：{why}"),
    "head_bundle": ("{count} targets or alerts were not restarted: {why}", "{count}件を再起動していません：{why}"),
    "head_paused": ("Unstick is paused and restarts nothing", "Unstick は一時停止中で、何も再起動しません"),
    "head_resumed": ("{subject} may be restarted again", "{subject} の自動再起動を再開しました"),
    "head_resumed_all": ("Unstick is no longer paused", "Unstick の一時停止を解除しました"),
    "head_unsigned": (
        "alerts that were accepted can't be decided, their signing key is gone",
        "受け付けたアラートを処理できません（署名鍵が見つかりません）",
    ),
    "head_other": ("news of {subject}", "{subject} のお知らせ"),
    # sentences
    "late": (
        "This message comes {late} late. Look at how things are now.",
        "この通知は{late}遅れて届きました。現在の状態を確認してください。",
    ),
    "todo": ("What to do: {todo}", "対応：{todo}"),
    "detail": ("Exactly: {detail}", "詳細：{detail}"),
    "overrule": (
        "You may have it restarted all the same, by the approval link.",
        "承認リンクから、それでも再起動を指示できます。",
    ),
    "approve_until": ("The approval link works once, until {until}.", "承認リンクは1回限り、{until}まで有効です。"),
    "would_have": ("It would have run the job with: {target}.", "実行するはずだったジョブ：{target}"),
    "again": (
        "Unstick looks again by itself, and calls for a person if that does not help.",
        "Unstick が自動で再確認し、改善しなければ人を呼びます。",
    ),
    "started": (
        "Nothing is being processed there. Unstick is restarting it and will report the result here.",
        "処理が止まっています。Unstick が再起動し、結果をここに報告します。",
    ),
    "draining": (
        "The restart helped and messages are being processed. Unstick keeps watching until the end.",
        "再起動の効果があり、処理が進んでいます。Unstick が引き続き監視します。",
    ),
    "recovered": ("Seen well in two looks after the restart ended.", "再起動の完了後、2回続けて正常を確認しました。"),
    "recovered_moving": (
        "It is not empty yet, but messages are being processed. {left} are left; Unstick stops watching now.",
        "まだ空ではありませんが処理は進んでいます。残り{left}件、監視はここで終了します。",
    ),
    "no_consumer": (
        "No consumer came back: the application did not start or did not connect. Read its log, then start it by hand.",
        "コンシューマーが戻っていません。アプリケーションが起動または接続できていません。ログを確認し、手動で起動してください。",
    ),
    "stuck_consumer": (
        "Consumers are connected but acknowledge nothing: they likely hang on the same message or dependency again. Look at the message at the head and at the application's log; move that message away or roll back.",
        "コンシューマーは接続していますが、処理が進みません。同じメッセージか依存先で再び止まっている可能性があります。先頭のメッセージとアプリケーションのログを確認し、メッセージの退避かロールバックを検討してください。",
    ),
    "unseen_consumer": (
        "Look at the queue and at the application's log, and restart it by hand if it hangs.",
        "キューとアプリケーションのログを確認し、止まっていれば手動で再起動してください。",
    ),
    "hands_off": (
        "Unstick restarts it no more until it is well, a person resumes it, or 24 hours have passed.",
        "正常に戻るか、人が再開するか、24時間経つまで、Unstick は再起動しません。",
    ),
    "resolved": ("Grafana reports the alert as resolved.", "Grafana がアラートの解消を報告しました。"),
    "not_approved": (
        "The approval link has expired. Look at the queue and restart the application by hand if it is still stuck.",
        "承認リンクの期限が切れました。キューを確認し、滞留が続いていれば手動で再起動してください。",
    ),
    "test": (
        "The line from Grafana through Unstick to this chat works.",
        "Grafana から Unstick を経てこのチャットまで、正しくつながっています。",
    ),
    "paused": (
        "Alerts are still received and told, but nothing is restarted until it is resumed.",
        "アラートの受信と通知は続きますが、再開するまで再起動は行いません。",
    ),
    "unsigned": (
        "They waited at the scheduler and came back with a signature that none of `signing_keys` made. Nothing is restarted for them.",
        "スケジューラーで待機していたアラートの署名が、`signing_keys` のどの鍵とも一致しません。これらのアラートによる再起動は行いません。",
    ),
    "todo_unsigned": (
        "look at what Grafana shows as firing. Put the former key back as the last of `signing_keys`: within a day they are then decided.",
        "Grafana で発生中のアラートを確認してください。以前の鍵を `signing_keys` の末尾に戻すと、1日以内なら処理されます。",
    ),
    "resumed": ("The next alert is handled as usual.", "次のアラートから通常どおり対応します。"),
    "cause_open": ("The bug behind it is still open: {cause}", "根本原因は未解決です：{cause}"),
    "cause_missing": (
        "The runbook names no root_cause: the bug will be back until somebody owns it.",
        "runbook に root_cause がありません。担当が決まるまで、この不具合は再発します。",
    ),
    "and_more": ("and {count} more", "ほか{count}件"),
    "with_more": ("{text} and {count} more", "{text}、ほか{count}件"),
    # facts
    "queue": ("Queue", "キュー"),
    "took": ("Took", "所要時間"),
    "since": ("Firing for", "発生から"),
    "attempt": ("Try", "試行"),
    "restart": ("Restart", "再起動"),
    "tried": ("Tried", "実施済み"),
    "head": ("Oldest message", "最古メッセージ"),
    "alert": ("Alert", "アラート"),
    "target": ("Target", "対象"),
    "runbook": ("Runbook", "Runbook"),
    "approved": ("Approved by", "承認者"),
    "incident": ("Incident", "インシデント"),
    "when": ("Time", "時刻"),
    "names": ("Concerned", "該当"),
    "reason": ("Reason code", "理由コード"),
    "attempt_of": ("{attempt} of {attempts}", "{attempts}回中{attempt}回目"),
    "took_both": ("{alert} from the alert, {restart} from the restart's end", "アラートから{alert}、再起動の完了から{restart}"),
    "took_alert": ("{alert} from the alert", "アラートから{alert}"),
    "messages": ("{count} messages", "{count}件"),
    "messages_1": ("1 message", "1件"),
    "before_after": ("{before} → {after} messages", "{before} → {after}件"),
    "consumers": ("{count} consumers", "コンシューマー{count}件"),
    "consumers_1": ("1 consumer", "コンシューマー1件"),
    "seen_ago": ("{seen} ({age} ago)", "{seen}（{age}前）"),
    "vhost": ("{queue} (vhost {vhost})", "{queue}（vhost {vhost}）"),
    "old": ("{age} old", "{age}経過"),
    "execution": ("execution {id}", "実行 {id}"),
    "by_other": ("started by {user}", "{user} が開始"),
    "by_somebody": ("started by somebody else", "他者が開始"),
    "running": ("running", "実行中"),
    "succeeded": ("succeeded", "成功"),
    "failed": ("failed", "失敗"),
    "aborted": ("aborted", "中止"),
    "stuck": ("still stuck", "滞留のまま"),
    "refused_late": ("refused by the job, it came too late", "遅延のためジョブが拒否"),
    # links
    "link_approve": ("Approve the restart", "再起動を承認"),
    "link_execution": ("Rundeck execution", "Rundeck の実行"),
    "link_panel": ("Panel", "パネル"),
    "link_dashboard": ("Dashboard", "ダッシュボード"),
    "link_alert": ("Alert rule", "アラートルール"),
    "link_runbook": ("Runbook page", "手順書"),
    "link_silence": ("Silence", "サイレンス"),
    "link_cause": ("Root cause", "根本原因"),
    # annotations in Grafana
    "mark_restart": ("restart: {target} (execution {id}, {status})", "再起動：{target}（実行 {id}、{status}）"),
    "mark_by_hand": ("restart by hand: {target} (execution {id}, {status})", "手動の再起動：{target}（実行 {id}、{status}）"),
    "mark_recovered": ("recovered", "復旧"),
    "mark_escalated": ("escalated", "エスカレーション"),
    "mark_held": ("held", "保留"),
    # what channels add
    "evidence": ("End of the job's log", "ジョブログの末尾"),
    "curve": ("Depth", "滞留数"),
    "curve_span": ("{first} → {last}, highest {peak}, over {span}", "{first} → {last}件（最大{peak}件、{span}）"),
    # durations
    "s": ("{s} s", "{s}秒"),
    "min_s": ("{min} min {s} s", "{min}分{s}秒"),
    "min": ("{min} min", "{min}分"),
    "h_min": ("{h} h {min} min", "{h}時間{min}分"),
    "d_h": ("{d} d {h} h", "{d}日{h}時間"),
}


def say(language: str, key: str, **values: object) -> str:
    """The phrase in this language (English where it is not known), filled in. The values stay as they are."""
    en, ja = PHRASES[key]
    return (ja if language == "ja" else en).format(**values)


def curve_words(curve: tuple[tuple[float, int], ...], language: str) -> str:
    """A curve in figures: first, last, highest, and the time that it spans. Empty for fewer than two looks."""
    if len(curve) < 2:
        return ""
    span = duration(language, curve[-1][0] - curve[0][0])
    peak = max(depth for _, depth in curve)
    return say(language, "curve_span", first=f"{curve[0][1]:,}", last=f"{curve[-1][1]:,}", peak=f"{peak:,}", span=span)


def duration(language: str, seconds: float) -> str:
    """A duration for people, in its two largest units."""
    whole = round(min(max(seconds, 0.0), 1e9)) if seconds == seconds else 0  # noqa: PLR0124 - not a number is not itself
    minutes, s = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return say(language, "d_h", d=days, h=hour)
    if hours:
        return say(language, "h_min", h=hours, min=minute)
    if minutes:
        return say(language, "min_s", min=minutes, s=s) if s else say(language, "min", min=minutes)
    return say(language, "s", s=s)
