"""docs/first-hour.md: its blocks are run in their order, as a newcomer types them, with other ports."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.stand_ins import StuckQueue
from testbed.broker.ports import is_taken
from testbed.doubles.rabbitmq import RabbitDouble, User
from testbed.patience import wait_until
from tests.system.project.newcomer import Newcomer, wait_for
from tools.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "first-hour.md"
BLOCKS = [body for info, body in blocks(PAGE) if info == "sh"]
NEXT = "Next, in another terminal"
pytestmark = pytest.mark.timeout(600)  # a dozen programs, one after the other


def test_every_block_of_the_page_works(tmp_path: Path) -> None:
    """From the stand-ins to a decision about one's own alert; nothing has to be guessed."""
    newcomer = Newcomer(tmp_path)
    _, stand_ins, serve, send, look, *_ = BLOCKS
    with ExitStack() as terminals:
        rundeck = terminals.enter_context(newcomer.terminal(stand_ins, until=NEXT))
        serving = newcomer.terminal(serve, until=f"listening on http://127.0.0.1:{newcomer.port}/")
        unstick = terminals.enter_context(serving)
        wait_until(lambda: is_taken(newcomer.port))
        again = newcomer.run(serve, status=2).stderr
        assert f"can't listen on 127.0.0.1:{newcomer.port}: Address already in use" in again
        assert "Traceback" not in again
        shown = newcomer.run(send).stdout
        assert "0 failed" in shown
        # Where a stand-in stands still for seconds, the look is made again by itself.
        assert "restarted, incident" in shown or "decided again by itself" in shown
        wait_for(rundeck, "restarted mail-delivery")
        wait_for(unstick, "recovered")  # in the seconds that the page has a person wait
        assert "recovered" in newcomer.run(look.replace("sleep 8\n", "")).stdout


def test_an_application_of_ones_own_is_restarted(tmp_path: Path) -> None:
    """Steps 6 and 7: an own RabbitMQ with a user whose password nobody types, and the changes that the page's table names."""
    newcomer = Newcomer(tmp_path)
    *_, stand_in, user, serve, rules, alerts, _reload, send = BLOCKS
    stand_in = stand_in.replace("sudo systemctl restart orders", f"touch {tmp_path}/restarted")
    with ExitStack() as terminals:
        rabbit = terminals.enter_context(RabbitDouble())
        StuckQueue(rabbit, "orders.created")
        terminals.enter_context(newcomer.terminal(stand_in, until="step 6"))
        newcomer.run(user)
        asked = (tmp_path / "sudo.log").read_text(encoding="utf-8").splitlines()
        assert [line.split()[1] for line in (asked[0], *asked[2:])] == ["add_user", "set_user_tags", "set_permissions"]
        rabbit.users["unstick"] = User(asked[1])
        file = tmp_path / "unstick.local.yaml"
        changed = file.read_text(encoding="utf-8")
        own = {
            "http://127.0.0.1:15672": rabbit.url,
            "mode: observe": "mode: auto",
            "{rabbitmq: {}}": "{rabbitmq: {vhost: /, users: [mail], for: 60s}}",
        }
        for shipped, value in own.items():
            assert shipped in changed
            changed = changed.replace(shipped, value)
        file.write_text(changed, encoding="utf-8")
        check, make = serve.rstrip().rpartition("\n")[::2]
        assert "0 failed" in newcomer.run(check).stdout
        terminal = check.rpartition("\n")[0]
        terminals.enter_context(newcomer.terminal(f"{terminal}\n{make}", until="listening on"))
        wait_until(lambda: is_taken(newcomer.port))
        newcomer.run(rules)
        newcomer.run(alerts)
        assert "build/stand-ins/alertmanager-token" in (tmp_path / "sudo.log").read_text(encoding="utf-8")
        newcomer.run(send)
        wait_until((tmp_path / "restarted").exists)


def test_ones_own_secrets_outlive_a_restart_of_the_stand_in(tmp_path: Path) -> None:
    """Alertmanager's token and RabbitMQ's password were handed out, so the next start, or the example's, makes no others."""
    newcomer = Newcomer(tmp_path)
    _, example, *_ = BLOCKS
    env, secrets = tmp_path / "build" / "stand-ins" / "env", []
    for block in (f"{example.rstrip()} --restart true", example, f"{example.rstrip()} --restart true"):
        with newcomer.terminal(block, until=NEXT):
            lines = env.read_text(encoding="utf-8").splitlines()
            secrets.append([line for line in lines if "ALERTMANAGER_TOKEN" in line or "RABBITMQ_PASSWORD" in line])
    token = env.with_name("alertmanager-token")
    assert (len(secrets[0]), secrets[0]) == (2, secrets[2])
    assert token.read_text(encoding="utf-8") in secrets[0][0] + secrets[0][1]
    assert token.stat().st_mode & 0o077 == 0


def test_a_pasted_block_is_not_read_as_the_password() -> None:
    """`rabbitmqctl add_user` asks for one: what follows it is the same command, so that the shell has read it by then."""
    for page in (ROOT / "infra" / "rabbitmq" / "README.md", PAGE):
        asking = [body for _, body in blocks(page) if "add_user" in body]
        assert asking
        for body in asking:
            lines = body.rstrip().splitlines()
            first = next(number for number, line in enumerate(lines) if "add_user" in line)
            assert all(line.endswith("&&") for line in lines[first:-1]), body
