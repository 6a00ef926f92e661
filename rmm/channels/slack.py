"""The Slack channel: an incoming webhook; what endpoints say is plain text, never mark-up, mentions or links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rmm.channels._http import Poster, header
from rmm.channels._options import check_names, text_of, url_of
from rmm.channels._text import tidy, view
from rmm.model.rule import Notification

MOST_BLOCKS = 20  # alerts that are named; Slack takes 50 blocks
MOST_TEXT = 2900  # characters of a block; Slack takes 3000
COLOURS = {"critical": "#b00020", "warning": "#d98e00", "resolved": "#2e7d32"}


class SlackChannel:
    """`ports.Channel`."""

    def __init__(self, name: str, url: str, ca_file: str) -> None:
        self.name = name
        self._poster = Poster(url, ca_file)

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """POST it; Slack says `ok`."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": header(notification.id)}
        answer = await self._poster.post(msgspec.json.encode(payload(notification)), headers, deadline=deadline)
        return f"HTTP {answer.status} {tidy(answer.body.decode('utf-8', 'replace'), 50)}".strip()


def escaped(text: str) -> str:
    """Slack's three characters; all of its mentions, channels and links begin with one of them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def payload(notification: Notification) -> dict[str, Any]:
    """The message: a title for notifications, and a block of plain text for each alert."""
    values = view(notification)
    blocks = [_block(one) for one in values["alerts"][:MOST_BLOCKS]]
    more = values["count"] - len(blocks)
    if more:
        blocks.append(_plain(f"... and {more} more: rmm alerts list"))
    colour = COLOURS["resolved"] if not values["firing"] else COLOURS[values["severity"]]
    return {
        "text": escaped(values["title"]),
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "attachments": [{"color": colour, "blocks": blocks}],
    }


def _block(alert: Mapping[str, Any]) -> dict[str, Any]:
    place = f" ({alert['site']})" if alert["site"] else ""
    head = f"{alert['state'].upper()} {alert['severity']}: {alert['name']}{place}"
    return _plain(f"{head}\n{alert['summary']}\nrule {alert['rule']}, since {alert['first_at']}")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "plain_text", "text": text[:MOST_TEXT], "emoji": False}}


def build(*, name: str, options: Mapping[str, Any]) -> SlackChannel:
    """Options: `url` ({vault: NAME}: who has it can write), `ca_file`."""
    check_names(name, options, {"url", "ca_file"})
    return SlackChannel(name, url_of(name, options, secret=True), text_of(name, options, "ca_file"))
