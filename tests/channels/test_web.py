"""Webhook, Slack, Teams, PagerDuty and apprise against servers that parse strictly; the event log's refusal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from servers import HOSTILE, PagerDuty, WebServer, alert, hostile, notification, send

from rmm.channels import apprise, eventlog, pagerduty, slack, teams, webhook
from rmm.errors import ChannelError, ConfigError
from rmm.model.endpoint import Credential, Secret

S = TypeVar("S", bound=WebServer)
OLD_WAYS = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise
KEY = "0123456789abcdef0123456789abcdef"


def vault(secret: str) -> Credential:
    return Credential(name="x", username="x", secret=Secret(secret))


@pytest.fixture
def serving() -> Iterator[Callable[[S], S]]:
    servers: list[WebServer] = []

    def add(one: S) -> S:
        servers.append(one)
        return one

    yield add
    for one in servers:
        one.close()


@pytest.mark.parametrize("secret", ["a plain secret", "whsec_" + base64.b64encode(b"k" * 24).decode()])
async def test_a_signed_webhook(serving: Callable[[WebServer], WebServer], secret: str) -> None:
    server = serving(WebServer())
    options = {"url": server.url, "secret": vault(secret), "headers": {"Authorization": vault("Bearer t")}}
    await send(webhook.build(name="w", options=options), notification())
    ((_, headers, _),) = server.requests
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    given = {name.lower(): value for name, value in headers.items()}
    assert abs(int(given["webhook-timestamp"]) - time.time()) < 60
    content = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode() + server.raw[0]
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert given["webhook-signature"] == f"v1,{expected}"
    assert given["webhook-id"] == given["idempotency-key"] and given["authorization"] == "Bearer t"


def test_the_signature_of_the_specification() -> None:
    """The example of the reference libraries of Standard Webhooks."""
    made = webhook.signed(
        base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}',
    )  # fmt: skip
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "channel.refused"), (401, "channel.address"), (404, "channel.address"), (302, "channel.address"),
     (429, "channel.busy"), (500, "channel.failed")],
)  # fmt: skip
async def test_what_answers_mean(serving: Callable[[WebServer], WebServer], status: int, code: str) -> None:
    server = serving(WebServer(status, b"no\x1b[31m way"))
    with pytest.raises(ChannelError) as error:
        await send(webhook.build(name="w", options={"url": server.url}), notification())
    assert error.value.code == code and error.value.hint
    assert "no [31m way" in str(error.value) and "\x1b" not in str(error.value)


async def test_slack(serving: Callable[[WebServer], WebServer]) -> None:
    server = serving(WebServer(200, b"ok"))
    channel = slack.build(name="s", options={"url": vault(server.url)})
    assert await send(channel, notification()) == "HTTP 200 ok"
    await send(channel, hostile())
    await send(channel, notification(*[alert(key=str(n)) for n in range(200)]))
    for _, _, body in server.requests:
        assert body["mrkdwn"] is False and body["link_names"] is False
        for sign in ("<!", "<@", "<http", "<script"):
            assert sign not in body["text"]
        (attached,) = body["attachments"]
        assert len(attached["blocks"]) <= 50
        for block in attached["blocks"]:
            assert block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= 3000
    assert "SRV01" in server.requests[0][2]["text"]
    assert "180 more" in server.requests[2][2]["attachments"][0]["blocks"][-1]["text"]["text"]


async def test_teams(serving: Callable[[WebServer], WebServer]) -> None:
    server = serving(WebServer(202))
    channel = teams.build(name="t", options={"url": vault(server.url)})
    assert await send(channel, notification()) == "HTTP 202"
    await send(channel, hostile())
    many = [alert(key=str(n), summary=HOSTILE, name=HOSTILE) for n in range(100)]
    await send(channel, notification(*many))
    for (_, _, body), raw in zip(server.requests, server.raw, strict=True):
        assert len(raw) <= 28_000
        (attached,) = body["attachments"]
        card = attached["content"]
        assert body["type"] == "message" and attached["contentType"] == "application/vnd.microsoft.card.adaptive"
        assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
        for block in card["body"]:
            # No TextBlock and no FactSet: those read Markdown.
            assert block["type"] == "RichTextBlock"
            for run in block["inlines"]:
                assert run["type"] == "TextRun" and "{{" not in run["text"] and "${" not in run["text"]
                assert run["text"].isprintable()


async def test_pagerduty(serving: Callable[[PagerDuty], PagerDuty]) -> None:
    server = serving(PagerDuty())
    channel = pagerduty.build(name="p", options={"routing_key": vault(KEY), "url": server.url})
    one, key = alert(), "cpu_high|srv01|_Total"
    await send(channel, notification(one))
    await send(channel, notification(one))
    assert server.incidents == {key: "triggered"}
    await send(channel, notification(alert("acknowledged"), kind="acknowledged"))
    assert server.incidents == {key: "acknowledged"}
    receipt = await send(channel, notification(alert("resolved", severity="warning"), kind="resolved"))
    assert server.incidents == {} and receipt == f"HTTP 202, resolve {key}"
    await send(channel, notification(alert(key="a"), alert("resolved", key="b"), alert(key="c")))
    assert set(server.incidents) == {"a", "c"}
    await send(channel, hostile())
    assert all(len(key) <= 255 for key in server.incidents)
    before = dict(server.incidents)
    await send(channel, notification(test=True))
    assert server.incidents == before  # a test wakes nobody for long


@OLD_WAYS
async def test_secrets_are_not_in_errors_or_logs(
    serving: Callable[[WebServer], WebServer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serving(WebServer(500))
    secret = server.url + "hooks/T0/B0/very-secret"
    closed = WebServer()
    closed.close()
    said = ""
    for channel in (
        slack.build(name="s", options={"url": vault(secret)}),
        teams.build(name="t", options={"url": vault(secret)}),
        slack.build(name="s", options={"url": vault(closed.url + "very-secret")}),
        apprise.build(name="a", options={"url": vault(secret.replace("http:", "json:"))}),
        apprise.build(name="a", options={"url": vault(closed.url.replace("http:", "json:") + "very-secret")}),
    ):
        with pytest.raises(ChannelError) as error:
            await send(channel, notification())
        said += f"{error.value} {error.value.hint} {error.value!r}"
    assert "very-secret" not in said + caplog.text


@OLD_WAYS
async def test_apprise(serving: Callable[[WebServer], WebServer]) -> None:
    server = serving(WebServer())
    url = vault(server.url.replace("http:", "json:"))
    channel = apprise.build(name="a", options={"url": url})
    assert await send(channel, notification()) == "taken by JSON"
    await send(apprise.build(name="a", options={"url": url, "short": True}), hostile())
    first, second = (body for _, _, body in server.requests)
    assert "CPU 99 %" in first["message"] and first["type"] == "failure"
    assert second["title"] == "" and len(second["message"]) < 400 and second["message"].strip().isprintable()
    with pytest.raises(ConfigError):
        apprise.build(name="a", options={"url": vault("nonsense://very-secret")})


@pytest.mark.parametrize("kind", [slack, teams, pagerduty, apprise])
def test_secrets_come_from_the_vault_alone(kind: Any) -> None:
    key = "routing_key" if kind is pagerduty else "url"
    with pytest.raises(ConfigError, match="vault"):
        kind.build(name="x", options={key: "https://hooks.example.org/very-secret"})


@pytest.mark.skipif(sys.platform == "win32", reason="there is an event log")
def test_the_event_log_is_refused_elsewhere() -> None:
    with pytest.raises(ConfigError, match="Windows") as error:
        eventlog.build(name="e", options={})
    assert "syslog" in error.value.hint


def test_entries_of_the_event_log() -> None:
    kind, event, text = eventlog.entry(alert(), notification())
    assert (kind, event) == (eventlog.ERROR, 1001) and "CPU 99 %" in text
    one = hostile()
    _, _, text = eventlog.entry(one.alerts[0], one)
    assert len(text) <= eventlog.MOST_TEXT and len(text.split("\r\n")) == 3
    assert all(line.isprintable() for line in text.split("\r\n"))
