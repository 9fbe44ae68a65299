"""The pages behind the links for people's answers: approval and acknowledgement. Only a pressed button changes anything.

Chats and mail scanners fetch every link that they see, so GET looks nothing up. See docs/decisions.md."""

from collections.abc import Mapping

from flask import Request

from functions.application import signing
from functions.bootstrap import Adapters
from functions.domain.cards import approval_page
from functions.domain.cards.approval_page import Notice
from functions.domain.decisions.endings import ACKNOWLEDGE
from functions.entrypoints.people import acknowledgement, approval
from functions.entrypoints.people.form import FOREIGN, identify, read_form
from functions.entrypoints.people.rendering import show_notice, show_opening
from functions.entrypoints.responses import Response, not_allowed
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import Text

OPEN = "open"
"""The path that forms post to. It differs from the link's, or browsers would treat the link as an anchor of the open page."""
FAILED = Notice(
    Text("Unstick can't do this right now"),
    (Text("A system that it needs does not respond. Reload the page in a moment to see whether anything was done."),),
)
REFUSALS: Mapping[int | str, Notice] = {
    FOREIGN: Notice(
        Text("The button was pressed on another site's page"),
        (Text("Open the link from the message and press the button there. Nothing was changed."),),
    ),
    403: Notice(Text("This link is not valid"), (Text("Open the link exactly as it is in the message. Nothing was changed."),)),
    410: Notice(
        Text("This link has expired"),
        (
            Text(
                "Nothing was done now. The chat shows what happened since, and has a newer message if the alert is still firing."
            ),
        ),
    ),
    413: Notice(Text("The request was too large"), (Text("Nothing was changed."),)),
    503: FAILED,
}


def respond(request: Request, ports: Adapters) -> Response:
    """GET /approve/ -> a page that posts the link's token; POST -> the page with the button, or its result. Never raises."""
    rules = ports.rules
    if request.method not in ("GET", "POST"):
        return not_allowed("GET, POST")
    try:
        if request.method == "GET":
            return show_opening(rules)
        form = read_form(request, rules.public_url)
        key, nonce = signing.read_approval(ports.config.signing_keys, form.token, ports.now())
        person = identify(request, ports.config.identity_header)
        press, show, buttons = approval.press, approval.show, {approval_page.RESTART, approval_page.DECLINE}
        if nonce.split(".")[1:2] == [ACKNOWLEDGE]:  # of an escalation
            press, show, buttons = acknowledgement.press, acknowledgement.show, {approval_page.ACKNOWLEDGE}
        if form.act and form.act not in buttons:
            return show_notice(rules, REFUSALS[403], 403)
        return press(ports, key, nonce, person, form) if form.act else show(ports, key, nonce, form.token, person)
    except BadRequest as refusal:
        content = REFUSALS.get(refusal.sentence) or REFUSALS.get(refusal.status, REFUSALS[403])
        return show_notice(rules, content, refusal.status)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"approval page unavailable: {error}")
        return show_notice(rules, FAILED, 503, {"Retry-After": "5"})
