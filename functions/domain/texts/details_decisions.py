"""Core: the exact sentences of what decides, and of the drill, in English and Japanese side by side.

`{name}` takes any text, `{name:number}` a number, and `{name:text}` a sentence that is translated as well; see details.py.
"""
# ruff: noqa: E501 - a phrase stays on its line, and a Japanese character counts as two columns

from __future__ import annotations

from collections.abc import Mapping

DECISIONS: Mapping[str, str] = {
    # guards.py
    "the kill switch can't be read: {why:text}": "停止スイッチを読み取れません：{why}",
    "the alert began {age:number} h ago": "アラートの発生は{age}時間前です",
    "the last incident was escalated {age:number} min ago and it has not been well since": "前回のインシデントは{age}分前にエスカレーションし、その後正常に戻っていません",
    "execution {id} has been running for {age:number} min": "実行 {id} が{age}分間続いています",
    "execution {id} runs already": "実行 {id} が既に動いています",
    "execution {id} of the same job {what:text}": "同じジョブの実行 {id}：{what}",
    "runs": "実行中",
    "waits for its start": "開始待ち",
    "execution {id} ended after the alert began": "実行 {id} はアラートの発生後に終了しました",
    "execution {id} ended after the last attempt": "実行 {id} は前回の試行の後に終了しました",
    "restarted {age:number} s ago": "{age}秒前に再起動しました",
    "restarts within {window:number} h: {count:number}, the limit is {limit:number}": "{window}時間以内に{count}回再起動しました（上限{limit}回）",
    "executions that failed in a row: {count:number}": "直近の実行が{count}回続けて失敗しました",
    "it was not looked at": "確認していません",
    "the document `storm` can't be read: {why:text}": "ドキュメント `storm` を読み取れません：{why}",
    "other targets restarted within {within:number} min: {count:number}, so a shared cause is likelier": "{within}分以内にほかの対象を{count}件再起動しており、共通の原因が疑われます",
    # judge.py
    "depth {depth:number}": "{depth}件",
    "acknowledged in the last {seconds:number} s: {count:number}": "直近{seconds}秒で{count}件を処理しました",
    "acknowledged in the last {seconds:number} s: {count:number}, but nothing right now": "直近{seconds}秒で{count}件を処理しましたが、今は止まっています",
    "the depth falls: {before:number} before, {now:number} now": "滞留が減っています（{before} → {now}件）",
    "depth over {limit:number} for less than {seconds:number} s": "{limit}件を超えてから{seconds}秒経っていません",
    "depth {depth:number} and nothing acknowledged for {seconds:number} s": "{depth}件あり、{seconds}秒間何も処理されていません",
    "depth {depth:number}; without the broker's statistics it takes looks over {seconds:number} s to tell": "{depth}件。RabbitMQ の統計がないため、判断するには{seconds}秒間の確認が必要です",
    "it moves: depth {before:number} before, {now:number} now": "処理が進んでいます（{before} → {now}件）",
    "depth {depth:number}, seen for {seconds:number} s": "{depth}件（{seconds}秒前から確認中）",
    "depth {depth:number}, not falling for {seconds:number} s": "{depth}件あり、{seconds}秒間減っていません",
    # phases.py
    "the runbook {name} is no longer in the configuration": "runbook {name} は設定から削除されています",
    "attempts numbered: {count:number}": "再起動の試行が{count}回に達しました",
    "execution {id} runs with other options than were sent; it is being aborted": "実行 {id} のオプションが送信した内容と異なるため、中止しています",
    "execution {id} is not in Rundeck's history": "実行 {id} が Rundeck の履歴にありません",
    "{why:text}; the restart was last seen running {minutes:number} min ago": "{why}。再起動の実行を最後に確認したのは{minutes}分前です",
    "{why:text}; the restart was last seen running {minutes:number} min ago; the queue looks healthy": "{why}。再起動の実行を最後に確認したのは{minutes}分前です。キューは正常に見えます",
    "the job ended as {status:text}": "ジョブの結果：{status}",
    "failed": "失敗",
    "aborted": "中止",
    "succeeded": "成功",
    "it is still stuck": "滞留したままです",
    "RabbitMQ could not be read": "RabbitMQ を読み取れませんでした",
    "not recovered within {minutes:number} min": "{minutes}分以内に復旧しませんでした",
    # runbooks.py
    "{what:text}: the alert has no label {label}": "{what}：アラートにラベル {label} がありません",
    "{what:text}: the label {label} has {count:number} characters, over {limit:number}: {value}": "{what}：ラベル {label} が{count}文字あり、上限の{limit}文字を超えています：{value}",
    "{what:text} has {count:number} characters, over {limit:number}: {value}": "{what}：値が{count}文字あり、上限の{limit}文字を超えています：{value}",
    "{what:text} has {count:number} bytes, over {limit:number}: {value}": "{what}：値が{count}バイトあり、上限の{limit}バイトを超えています：{value}",
    "{what:text} holds control characters: {value}": "{what}：値に制御文字があります：{value}",
    "{what:text} does not match its `allow` pattern: {value}": "{what}：値が `allow` のパターンに一致しません：{value}",
    "option {name}": "オプション {name}",
    "option {name} (from label {label:text})": "オプション {name}（ラベル {label}）",
    "{label}) (from label {others:text}": "{label}、{others}",  # several labels in one option
    "queue": "キュー",
    # flow.py, looking.py, documents.py
    "somebody else kept changing the document": "ドキュメントがほかから更新され続けました",
    "too much time had passed since the look": "確認から時間が経ちすぎました",
    "the document names no target": "ドキュメントに対象がありません",
    "UNSTICK_PAUSED=1 is set": "UNSTICK_PAUSED=1 が設定されています",
    "UNSTICK_PAUSED=1 is set ({by:text})": "UNSTICK_PAUSED=1 が設定されています（{by}）",
    "the environment": "環境変数",
    "the document {name} can't be read: {error}": "ドキュメント {name} を読み取れません：{error}",
    "Look at it, and move it away if it is broken: its target then starts anew.": "内容を確認し、壊れていれば移動してください。対象は最初からやり直します。",
    "the document {name} was written by a newer release (version {written:number}, this one reads {known:number})": "ドキュメント {name} は新しいリリースが書いたものです（バージョン {written}、このリリースは {known} まで）",
    "Deploy the newer release again, or wait until its incident has ended there.": "新しいリリースを再度デプロイするか、そちらでインシデントが終わるまで待ってください。",
    # drill.py, drill_refusal.py
    "See the log of verify and the scheduler's queue; `python -m functions check` asks the scheduler.": "verify のログとスケジューラーのキューを確認してください。`python -m functions check` でスケジューラーを調べられます。",
    "Is the function's store the one of this configuration? Its log says why it could not save.": "関数のストアがこの設定と同じか確認してください。保存できなかった理由は関数のログにあります。",
    "not all alerts were saved": "保存されていないアラートがあります",
    "no wake-up came within {seconds:number} s": "{seconds}秒以内に配送がありませんでした",
    "no channel is named": "チャンネルが指定されていません",
    "Add `notify:` at the top.": "最上位に `notify:` を追加してください。",
    "the message is still untold": "メッセージがまだ通知されていません",
    "The log of verify says which channel failed.": "失敗したチャンネルは verify のログにあります。",
    "See that the function is deployed and `public_url` leads to it.": "関数がデプロイされ、`public_url` がその URL になっているか確認してください。",
    "it took a test alert for a real one": "テストアラートが本番のアラートとして扱われました",
    "Deploy the release that this is of.": "これと同じリリースをデプロイしてください。",
    "401: is grafana.auth the same here and there? 404: does public_url lead to `webhook`?": "401 の場合は grafana.auth が双方で同じか、404 の場合は public_url が `webhook` の URL か確認してください。",
    "it answered {status:number}": "応答 {status}",
    "it answered {status:number} {said}": "応答 {status}：{said}",
    "not tried, since it might restart: {what:text}: no.": "再起動の恐れがあるため試していません（満たしていない条件：{what}）",
    "not tried, since it might restart: {what:text}: no. {detail:text}": "再起動の恐れがあるため試していません（満たしていない条件：{what}）：{detail}",
    "Look at it in Rundeck: is a node missing, or the server busy?": "Rundeck で、ノードの不足やサーバーの負荷を確認してください。",
    "execution {id} has not ended": "実行 {id} が終わりません",
    "It did restart. Put the first step of infra/rundeck/job.yaml before the restart, and see the nodes' clocks.": "再起動されました。infra/rundeck/job.yaml の最初のステップを再起動の前に置き、ノードの時計を確認してください。",
    "execution {id} ended as {status:text}, not refused": "実行 {id} は拒否されずに終了しました（{status}）",
}
