"""What masking knows and what it lets pass, as a table: forms of programs' output, and the tokens of services.

The tokens are made here, of the right form and without a meaning: a table of real-looking ones would itself be a leak.
"""

from __future__ import annotations

import random
import string

import pytest

from functions.domain.texts.masking import mask

HEX, LOWER, ALNUM, UPPER = "0123456789abcdef", string.ascii_lowercase + string.digits, string.ascii_letters + string.digits, string.ascii_uppercase + string.digits  # fmt: skip # noqa: E501
X = "hunter2hunter2"


def made(alphabet: str, count: int) -> str:
    """The same at each run, and of no pattern of its own."""
    return "".join(random.Random(f"{alphabet}{count}").choices(alphabet, k=count))


FORMS = {
    "option with a prefix": "worker --amqp-pass hunter2 --port 5",
    "option of one word": "worker --pw hunter2",
    "option in a list of arguments": "['worker', '--amqp-password', 'hunter2', '--port', '5']",
    "pika": "pika.PlainCredentials('mail', 'hunter2')",
    "pika, with names": "PlainCredentials(username='mail', password='hunter2')",
    "requests": "HTTPBasicAuth('mail', 'hunter2')",
    "smtplib, its call": "server.login('mail', 'hunter2')",
    "smtplib, AUTH PLAIN": "send: 'AUTH PLAIN AGh1bnRlcjIA\\r\\n'",
    "smtplib, AUTH LOGIN": (
        "send: 'AUTH LOGIN bWFpbA==\\r\\n'\nreply: b'334 UGFzc3dvcmQ6\\r\\n'\nreply: retcode (334)\nsend: 'aHVudGVyMg==\\r\\n'"
    ),
    "Telegram": "GET /bot123:hunter2hunter2hunter2hunter2hunter2xyz/getMe",
    "a short Telegram": "https://api.telegram.org/bot123:hunter2/sendMessage",
    "basic in a pair": "('authorization', 'Basic aHVudGVyMg==')",
    "basic of h2": "[(b'authorization', b'Basic aHVudGVyMg=='), (b'x', b'y')]",
    "basic alone": "sent Basic aHVudGVyMjpodW50ZXIy to it",
    "kubeconfig": "    client-key-data: aHVudGVyMmh1bnRlcjI=",
    "urllib": "SplitResult(scheme='amqp', netloc='mail:hunter2@rabbit:5672', path='/')",
    "short name": "SMTP_PW=hunter2",
    "short name, small": "smtp_pw: hunter2",
    "approval link": "https://unstick.example.com/approve/#WyJrIiwibiIsMF0.hunter2hunter2",
    "incident link": "https://unstick.example.com/incidents/20261123-181205-7f3a9c21?link=WyJrIl0.hunter2hunter2",
}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_output_shows_its_secret(form: str) -> None:
    """Neither the word nor its base64."""
    shown = mask(FORMS[form])
    assert "hunter2" not in shown
    assert "aHVudGVyMg" not in shown
    assert "AGh1bnRlcjIA" not in shown
    assert "***" in shown


TOKENS = {
    "1Password": f"ops_eyJ{made(ALNUM, 260)}",
    "Adobe": f"p8e-{made(LOWER, 32)}",
    "age": f"AGE-SECRET-KEY-1{made('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}",
    "Alibaba": f"LTAI{made(ALNUM, 20)}",
    "Anthropic": f"sk-ant-api03-{made(ALNUM, 93)}AA",
    "Artifactory": f"AKCp{made(ALNUM, 69)}",
    "Atlassian": f"ATATT3{made(ALNUM, 186)}",
    "AWS, key id": f"AKIA{made('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}",
    "Azure AD": f"Abc8Q~{made(ALNUM, 34)}",
    "Clojars": f"CLOJARS_{made(LOWER, 60)}",
    "Cloudflare, named": f"cloudflare_api_key = '{made(LOWER, 40)}'",
    "Databricks": f"dapi{made(HEX, 32)}",
    "Datadog, named": f"datadog_token = '{made(LOWER, 40)}'",
    "DigitalOcean": f"dop_v1_{made(HEX, 64)}",
    "Doppler": f"dp.pt.{made(LOWER, 43)}",
    "Duffel": f"duffel_test_{made(LOWER, 43)}",
    "Dynatrace": f"dt0c01.{made(UPPER, 24)}.{made(UPPER, 64)}",
    "EasyPost": f"EZAK{made(LOWER, 54)}",
    "Fly.io": f"fo1_{made(ALNUM, 43)}",
    "GitHub": f"ghp_{made(ALNUM, 36)}",
    "GitHub, fine-grained": f"github_pat_{made(ALNUM, 82)}",
    "GitLab": f"glpat-{made(ALNUM, 20)}",
    "GitLab, runner": f"glrt-{made(ALNUM, 20)}",
    "Google API": f"AIza{made(ALNUM, 35)}",
    "Grafana, service account": f"glsa_{made(ALNUM, 32)}_{made(HEX, 8)}",
    "Grafana Cloud": f"glc_{made(ALNUM, 80)}=",
    "HashiCorp, Terraform": f"{made(ALNUM, 14)}.atlasv1.{made(ALNUM, 66)}",
    "HashiCorp, Vault": f"hvs.{made(ALNUM, 95)}",
    "Heroku": f"HRKU-AA{made(ALNUM, 58)}",
    "Hugging Face": f"hf_{made(string.ascii_lowercase, 34)}",
    "Infracost": f"ico-{made(ALNUM, 32)}",
    "Linear": f"lin_api_{made(LOWER, 40)}",
    "Mailgun": f"mailgun_key = 'key-{made(HEX, 32)}'",
    "MessageBird, named": f"messagebird = '{made(LOWER, 25)}'",
    "New Relic": f"new_relic_key = 'NRAK-{made(LOWER, 27)}'",
    "Notion": f"ntn_{made('0123456789', 11)}{made(ALNUM, 35)}",
    "npm": f"npm_{made(LOWER, 36)}",
    "OpenAI": f"sk-proj-{made(ALNUM, 74)}T3BlbkFJ{made(ALNUM, 74)}",
    "PlanetScale": f"pscale_tkn_{made(ALNUM, 43)}",
    "Postman": f"PMAK-{made(HEX, 24)}-{made(HEX, 34)}",
    "Prefect": f"pnu_{made(LOWER, 36)}",
    "Pulumi": f"pul-{made(HEX, 40)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{made(ALNUM, 80)}",
    "Rubygems": f"rubygems_{made(HEX, 48)}",
    "SendGrid": f"SG.{made(ALNUM, 22)}.{made(ALNUM, 43)}",
    "Sentry": f"sntryu_{made(HEX, 64)}",
    "Shippo": f"shippo_live_{made(HEX, 40)}",
    "Shopify": f"shpat_{made(HEX, 32)}",
    "Slack": f"xoxb-{made('0123456789', 12)}-{made('0123456789', 12)}-{made(ALNUM, 24)}",
    "Stripe": f"sk_live_{made(ALNUM, 24)}",
    "Twilio": f"SK{made(HEX, 32)}",
    "Typeform, named": f"typeform = 'tfp_{made(LOWER, 59)}'",
}
"""Fifty-two of them, as each service writes them; `named`: only a name nearby tells what it is."""


@pytest.mark.parametrize("service", TOKENS)
def test_tokens_of_services_are_masked(service: str) -> None:
    """As the only word in the line that looks like one."""
    secret = TOKENS[service].rpartition(" = ")[2].strip("'")
    assert secret[6:] not in mask(f"log {TOKENS[service]} end")


PASSES = {
    "a password without a name": ("mail hunter2", "nothing tells that it is one; `mask` in unstick.yaml can"),
    "an option of one letter": ("mysql -phunter2", "most options of one letter are no passwords: -port, -path"),
    "base64 of a form": ("cGFzc3dvcmQ9aHVudGVyMg==", "what is encoded is not decoded; configured secrets are known encoded too"),
    "split over two lines": ("DB_PASSWORD=hunter2-\nhunter3", "the second half has no name"),
}
"""What is known to pass, and why."""


@pytest.mark.parametrize("form", PASSES)
def test_what_passes_is_known(form: str) -> None:
    """Whoever masks one of these takes it out of this table."""
    output, why = PASSES[form]
    assert why
    assert mask(output).splitlines()[-1] == output.splitlines()[-1]
