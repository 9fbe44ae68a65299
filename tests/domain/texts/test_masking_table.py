"""What masking knows and what it lets pass, as a table: forms of programs' output, and the tokens of services.

The tokens are made here, of the right form and without a meaning: a table of real-looking ones would itself be a leak.
"""

from __future__ import annotations

import random
import string

import pytest

from functions.domain.texts.patterns import mask

HEX, LOWER, ALNUM, UPPER = "0123456789abcdef", string.ascii_lowercase + string.digits, string.ascii_letters + string.digits, string.ascii_uppercase + string.digits  # fmt: skip # noqa: E501
X = "hunter2hunter2"


def random_text(alphabet: str, count: int) -> str:
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
    "1Password": f"ops_eyJ{random_text(ALNUM, 260)}",
    "Adobe": f"p8e-{random_text(LOWER, 32)}",
    "age": f"AGE-SECRET-KEY-1{random_text('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}",
    "Alibaba": f"LTAI{random_text(ALNUM, 20)}",
    "Anthropic": f"sk-ant-api03-{random_text(ALNUM, 93)}AA",
    "Artifactory": f"AKCp{random_text(ALNUM, 69)}",
    "Atlassian": f"ATATT3{random_text(ALNUM, 186)}",
    "AWS, key id": f"AKIA{random_text('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}",
    "Azure AD": f"Abc8Q~{random_text(ALNUM, 34)}",
    "Clojars": f"CLOJARS_{random_text(LOWER, 60)}",
    "Cloudflare, named": f"cloudflare_api_key = '{random_text(LOWER, 40)}'",
    "Databricks": f"dapi{random_text(HEX, 32)}",
    "Datadog, named": f"datadog_token = '{random_text(LOWER, 40)}'",
    "DigitalOcean": f"dop_v1_{random_text(HEX, 64)}",
    "Doppler": f"dp.pt.{random_text(LOWER, 43)}",
    "Duffel": f"duffel_test_{random_text(LOWER, 43)}",
    "Dynatrace": f"dt0c01.{random_text(UPPER, 24)}.{random_text(UPPER, 64)}",
    "EasyPost": f"EZAK{random_text(LOWER, 54)}",
    "Fly.io": f"fo1_{random_text(ALNUM, 43)}",
    "GitHub": f"ghp_{random_text(ALNUM, 36)}",
    "GitHub, fine-grained": f"github_pat_{random_text(ALNUM, 82)}",
    "GitLab": f"glpat-{random_text(ALNUM, 20)}",
    "GitLab, runner": f"glrt-{random_text(ALNUM, 20)}",
    "Google API": f"AIza{random_text(ALNUM, 35)}",
    "Grafana, service account": f"glsa_{random_text(ALNUM, 32)}_{random_text(HEX, 8)}",
    "Grafana Cloud": f"glc_{random_text(ALNUM, 80)}=",
    "HashiCorp, Terraform": f"{random_text(ALNUM, 14)}.atlasv1.{random_text(ALNUM, 66)}",
    "HashiCorp, Vault": f"hvs.{random_text(ALNUM, 95)}",
    "Heroku": f"HRKU-AA{random_text(ALNUM, 58)}",
    "Hugging Face": f"hf_{random_text(string.ascii_lowercase, 34)}",
    "Infracost": f"ico-{random_text(ALNUM, 32)}",
    "Linear": f"lin_api_{random_text(LOWER, 40)}",
    "Mailgun": f"mailgun_key = 'key-{random_text(HEX, 32)}'",
    "MessageBird, named": f"messagebird = '{random_text(LOWER, 25)}'",
    "New Relic": f"new_relic_key = 'NRAK-{random_text(LOWER, 27)}'",
    "Notion": f"ntn_{random_text('0123456789', 11)}{random_text(ALNUM, 35)}",
    "npm": f"npm_{random_text(LOWER, 36)}",
    "OpenAI": f"sk-proj-{random_text(ALNUM, 74)}T3BlbkFJ{random_text(ALNUM, 74)}",
    "PlanetScale": f"pscale_tkn_{random_text(ALNUM, 43)}",
    "Postman": f"PMAK-{random_text(HEX, 24)}-{random_text(HEX, 34)}",
    "Prefect": f"pnu_{random_text(LOWER, 36)}",
    "Pulumi": f"pul-{random_text(HEX, 40)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{random_text(ALNUM, 80)}",
    "Rubygems": f"rubygems_{random_text(HEX, 48)}",
    "SendGrid": f"SG.{random_text(ALNUM, 22)}.{random_text(ALNUM, 43)}",
    "Sentry": f"sntryu_{random_text(HEX, 64)}",
    "Shippo": f"shippo_live_{random_text(HEX, 40)}",
    "Shopify": f"shpat_{random_text(HEX, 32)}",
    "Slack": f"xoxb-{random_text('0123456789', 12)}-{random_text('0123456789', 12)}-{random_text(ALNUM, 24)}",
    "Stripe": f"sk_live_{random_text(ALNUM, 24)}",
    "Twilio": f"SK{random_text(HEX, 32)}",
    "Typeform, named": f"typeform = 'tfp_{random_text(LOWER, 59)}'",
}
"""Fifty-two of them, as each service writes them; `named`: only a name nearby tells what it is."""


@pytest.mark.parametrize("service", TOKENS)
def test_tokens_of_services_are_masked(service: str) -> None:
    """As the only word in the line that looks like one. What names it stays."""
    name, _, secret = TOKENS[service].rpartition(" = ")
    shown = mask(f"log {TOKENS[service]} end")
    assert secret.strip("'")[6:] not in shown
    assert shown.startswith(f"log {name}")


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
