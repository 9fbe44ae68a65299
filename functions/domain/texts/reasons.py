"""Core: the words of each reason code: whether anybody must get up, why nothing was restarted, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.model.codes import Reason


class Words(Struct, frozen=True):
    """One reason in one language: `short` fits behind a headline's colon, `why` and `todo` are sentences."""

    short: str
    why: str
    todo: str


class Explained(Struct, frozen=True):
    urgency: str
    en: Words
    ja: Words

    def words(self, language: str) -> Words:
        return self.ja if language == "ja" else self.en


REASONS: Mapping[Reason, Explained] = {
    Reason.PAUSED: Explained(
        "act",
        Words(
            "Unstick is paused",
            "The kill switch is on, or can't be read, so nothing is restarted.",
            "look at the queue yourself, restart it by hand if needed, and resume Unstick when the cause of the pause is over.",
        ),
        Words(
            "Unstick は一時停止中",
            "停止スイッチがオンか読み取れないため、再起動しません。",
            "キューを確認し、必要なら手動で再起動してください。停止の理由がなくなったら Unstick を再開してください。",
        ),
    ),
    Reason.NOT_FIRING: Explained(
        "fine",
        Words("the alert is not firing", "The alert is resolved already.", "nothing."),
        Words("アラートは発生していません", "アラートは既に解消しています。", "不要です。"),
    ),
    Reason.NO_RUNBOOK: Explained(
        "act",
        Words(
            "no runbook matches the alert",
            "No runbook of unstick.yaml matches the alert's labels.",
            "handle this alert by hand, then add a runbook or route the alert elsewhere.",
        ),
        Words(
            "一致する runbook がありません",
            "unstick.yaml にアラートのラベルと一致する runbook がありません。",
            "このアラートは手動で対応し、その後 runbook を追加するか通知先を変えてください。",
        ),
    ),
    Reason.TEST_ALERT: Explained(
        "fine",
        Words("a test notification", "It was sent by the Test button of a contact point.", "nothing."),
        Words("テスト通知です", "コンタクトポイントの Test ボタンから送られました。", "不要です。"),
    ),
    Reason.MONITORING_FAILURE: Explained(
        "watch",
        Words(
            "the monitoring has no data",
            "Grafana reports no data or a failing data source. That says nothing about the application.",
            "if it stays, mend the monitoring: until then nobody would notice a stuck queue.",
        ),
        Words(
            "監視データがありません",
            "Grafana がデータなし、またはデータソースの異常を報告しています。アプリケーションの状態は不明です。",
            "続くようなら監視を復旧してください。それまでは滞留に気付けません。",
        ),
    ),
    Reason.STALE_ALERT: Explained(
        "act",
        Words(
            "the alert is too old",
            "The alert began too long ago for a restart without a person.",
            "find out why nobody mended it, and restart by hand if it still hangs.",
        ),
        Words(
            "アラートが古すぎます",
            "発生から時間が経ちすぎており、人の確認なしには再起動しません。",
            "放置された理由を確認し、まだ止まっていれば手動で再起動してください。",
        ),
    ),
    Reason.FROZEN: Explained(
        "act",
        Words(
            "a freeze window is on",
            "The runbook forbids restarts at this time.",
            "decide whether it can wait until the window ends; if not, restart by hand.",
        ),
        Words(
            "再起動禁止の時間帯です",
            "runbook がこの時間帯の再起動を禁止しています。",
            "時間帯の終わりまで待てるか判断し、待てなければ手動で再起動してください。",
        ),
    ),
    Reason.SYMPTOM_GONE: Explained(
        "fine",
        Words("the queue is well", "RabbitMQ shows that messages are being processed.", "nothing."),
        Words("キューは正常です", "RabbitMQ では処理が進んでいます。", "不要です。"),
    ),
    Reason.SYMPTOM_UNKNOWN: Explained(
        "act",
        Words(
            "RabbitMQ can't tell how the queue is",
            "The queue's figures can't be read, and nothing is restarted on a guess.",
            "check RabbitMQ and Unstick's access to it, look at the queue, and restart by hand if it hangs.",
        ),
        Words(
            "キューの状態が不明です",
            "キューの数値を読み取れません。推測では再起動しません。",
            "RabbitMQ と Unstick の権限を確認し、キューが止まっていれば手動で再起動してください。",
        ),
    ),
    Reason.LEDGER_UNKNOWN: Explained(
        "act",
        Words(
            "Rundeck's history can't be read",
            "Without the history nobody knows what was restarted or how that ended, so nothing is restarted.",
            "check Rundeck and the token's rights, look at the queue, and restart by hand if it hangs.",
        ),
        Words(
            "Rundeck の履歴を読めません",
            "履歴がないと直前の再起動とその結果が分からないため、再起動しません。",
            "Rundeck とトークンの権限を確認し、キューが止まっていれば手動で再起動してください。",
        ),
    ),
    Reason.ALREADY_RUNNING: Explained(
        "watch",
        Words(
            "a restart is running already",
            "Somebody started the same restart. Unstick checks its result like one of its own.",
            "wait for the result.",
        ),
        Words(
            "再起動が既に実行中です", "同じ再起動が既に始まっています。結果は Unstick が確認します。", "結果を待ってください。"
        ),
    ),
    Reason.JOB_BUSY: Explained(
        "watch",
        Words(
            "the job is busy with something else",
            "Rundeck is running the same job for another target, or has planned it. Unstick tries again.",
            "nothing, unless that execution hangs.",
        ),
        Words(
            "ジョブが別の対象で実行中です",
            "Rundeck が同じジョブを別の対象で実行中か予約済みです。Unstick が再度試みます。",
            "その実行が止まっていなければ不要です。",
        ),
    ),
    Reason.ZOMBIE_EXECUTION: Explained(
        "act",
        Words(
            "a restart has been running for too long",
            "The execution in Rundeck does not end and blocks the next restart.",
            "open the execution, abort it, and see whether the application came up.",
        ),
        Words(
            "再起動が終わりません",
            "Rundeck の実行が終わらず、次の再起動を妨げています。",
            "実行を開いて中止し、アプリケーションが起動しているか確認してください。",
        ),
    ),
    Reason.RESTART_REFUSED: Explained(
        "act",
        Words(
            "Rundeck refused the restart",
            "Rundeck answered no: token, rights, job or options are not as they must be.",
            "restart by hand now, then mend what Rundeck complains about.",
        ),
        Words(
            "Rundeck が再起動を拒否しました",
            "トークン、権限、ジョブ、オプションのいずれかに問題があります。",
            "まず手動で再起動し、その後 Rundeck が指摘した点を直してください。",
        ),
    ),
    Reason.DUPLICATE: Explained(
        "fine",
        Words("it is being handled already", "An incident of the same target has this alert.", "nothing."),
        Words("既に対応中です", "同じ対象のインシデントがこのアラートを扱っています。", "不要です。"),
    ),
    Reason.ESCALATED: Explained(
        "act",
        Words(
            "it was escalated before and has not been well since",
            "A restart did not help the last time, so another one would only hide the bug.",
            "go on from the last escalation; resume the target when it is mended.",
        ),
        Words(
            "前回の障害から回復していません",
            "前回は再起動で直りませんでした。繰り返しても原因を隠すだけです。",
            "前回のエスカレーションの続きを対応し、直ったら再開してください。",
        ),
    ),
    Reason.COOLDOWN: Explained(
        "watch",
        Words(
            "it was restarted a short while ago",
            "The cooldown is running. Unstick decides again when it is over.",
            "nothing yet. That it sticks again so soon is worth a look by daylight.",
        ),
        Words(
            "再起動したばかりです",
            "クールダウン中です。終わり次第 Unstick が再判断します。",
            "今は不要です。短時間での再発は、日中に調べる価値があります。",
        ),
    ),
    Reason.TOO_MANY_RESTARTS: Explained(
        "act",
        Words(
            "it was restarted too often",
            "The limit of restarts is used up: restarting no longer helps, or hides the bug.",
            "find the cause now; restart by hand only if you must.",
        ),
        Words(
            "再起動の回数が上限です",
            "再起動の上限に達しました。再起動では直らないか、不具合を隠しています。",
            "原因を調べてください。手動の再起動はやむを得ない場合だけにしてください。",
        ),
    ),
    Reason.FAILING: Explained(
        "act",
        Words(
            "the restart job keeps failing",
            "The last executions of the job failed, so another one would most likely fail too.",
            "read the job's log, mend the job, and restart by hand.",
        ),
        Words(
            "再起動ジョブが失敗しています",
            "直近の実行が失敗しており、次も失敗する見込みです。",
            "ジョブのログを読んで直し、手動で再起動してください。",
        ),
    ),
    Reason.TOO_MANY_TARGETS: Explained(
        "act",
        Words(
            "too many targets are stuck at once",
            "So many applications do not fall ill by themselves: a shared cause is likelier.",
            "look at what they share: RabbitMQ, database, network, the last rollout.",
        ),
        Words(
            "多くの対象が同時に滞留しています",
            "個別の不具合より共通の原因が疑われます。",
            "共通部分（RabbitMQ、データベース、ネットワーク、直近のリリース）を確認してください。",
        ),
    ),
    Reason.INCIDENT_FULL: Explained(
        "act",
        Words(
            "too many alerts of one application",
            "An incident takes a limited number of alerts and queues. Those beyond it were not looked at.",
            "check the application's other queues yourself; alerts that still fire are decided when Grafana repeats them.",
        ),
        Words(
            "1 つのアプリケーションのアラートが多すぎます",
            "1 件のインシデントで扱うアラートとキューには上限があり、超えた分は確認していません。",
            "残りのキューを確認してください。発生し続けているアラートは、Grafana の再通知時に改めて判断します。",
        ),
    ),
    Reason.INVALID_OPTION: Explained(
        "act",
        Words(
            "a label has no allowed value",
            "A label that the restart needs is missing or does not match the runbook's `allow`.",
            "handle this alert by hand, then mend the alert rule's labels or `allow`.",
        ),
        Words(
            "ラベルの値が許可されていません",
            "再起動に必要なラベルがないか、runbook の `allow` に一致しません。",
            "このアラートは手動で対応し、アラートルールのラベルか `allow` を直してください。",
        ),
    ),
    Reason.OBSERVE_ONLY: Explained(
        "act",
        Words(
            "the runbook only observes",
            "The queue is stuck, and the runbook's mode is observe: Unstick says what it would do and does nothing.",
            "restart it by hand as before; set the mode to approve or auto when you trust these messages.",
        ),
        Words(
            "監視のみの設定です",
            "キューは滞留していますが、モードが observe のため Unstick は何もしません。",
            "従来どおり手動で再起動してください。判断を信頼できたら approve か auto に変えてください。",
        ),
    ),
    Reason.AWAITING_APPROVAL: Explained(
        "act",
        Words(
            "it waits for an approval",
            "The queue is stuck, and the runbook's mode is approve: a person has to say yes.",
            "open the approval link, look, and press the button.",
        ),
        Words(
            "承認を待っています",
            "キューは滞留しており、モードが approve のため人の承認が必要です。",
            "承認リンクを開き、内容を確認してボタンを押してください。",
        ),
    ),
}
