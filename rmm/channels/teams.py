"""The Microsoft Teams channel: the webhook of a workflow, with an adaptive card.

Texts of endpoints stand in TextRuns, which know no Markdown (Adaptive Cards 1.2, RichTextBlock).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rmm.channels._http import Poster, header
from rmm.channels._options import check_names, text_of, url_of
from rmm.channels._text import view
from rmm.model.rule import Notification

MOST_ALERTS = 15  # that are named
MOST_BYTES = 25_000  # of a message; Teams takes 28 KB


class TeamsChannel:
    """`ports.Channel`."""

    def __init__(self, name: str, url: str, ca_file: str) -> None:
        self.name = name
        self._poster = Poster(url, ca_file)

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """POST it; the workflow says 202."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": header(notification.id)}
        answer = await self._poster.post(encoded(notification), headers, deadline=deadline)
        return f"HTTP {answer.status}"


def encoded(notification: Notification) -> bytes:
    """The message as JSON, with fewer alerts where it would be too large."""
    most = MOST_ALERTS
    while len(body := msgspec.json.encode(payload(notification, most))) > MOST_BYTES and most > 1:
        most //= 2
    return body


def payload(notification: Notification, most: int = MOST_ALERTS) -> dict[str, Any]:
    """What the trigger `When a Teams webhook request is received` takes."""
    values = view(notification)
    body = [_line([_run(values["title"], weight="Bolder", size="Medium")])]
    for one in values["alerts"][:most]:
        colour = "Good" if one["state"] == "resolved" else "Attention" if one["severity"] == "critical" else "Warning"
        place = f"  {one['name']}" + (f" ({one['site']})" if one["site"] else "")
        body.append(
            _line([_run(f"{one['state'].upper()} {one['severity']}", color=colour), _run(place, weight="Bolder")])
        )
        body.append(_line([_run(one["summary"])], spacing="None"))
        body.append(_line([_run(f"rule {one['rule']}, since {one['first_at']}", isSubtle=True)], spacing="None"))
    more = values["count"] - len(values["alerts"][:most])
    if more:
        body.append(_line([_run(f"... and {more} more: rmm alerts list")]))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }


def _run(text: str, **looks: Any) -> dict[str, Any]:
    # {{DATE(...)}} and ${...} are functions and bindings of cards.
    return {"type": "TextRun", "text": text.replace("{{", "{ {").replace("${", "$ {"), **looks}


def _line(runs: list[dict[str, Any]], **looks: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": runs, **looks}


def build(*, name: str, options: Mapping[str, Any]) -> TeamsChannel:
    """Options: `url` ({vault: NAME}: who has it can write), `ca_file`."""
    check_names(name, options, {"url", "ca_file"})
    return TeamsChannel(name, url_of(name, options, secret=True), text_of(name, options, "ca_file"))
