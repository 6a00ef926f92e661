"""The PagerDuty channel: Events API v2; the deduplication key is the alert's identity, so it ends its incident."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from rmm.channels._http import Poster, header
from rmm.channels._options import check_names, secret_of, text_of, url_of
from rmm.channels._text import tidy
from rmm.model.endpoint import Secret
from rmm.model.rule import Alert, Notification

_OPTIONS = {"routing_key", "url", "ca_file"}
URL = "https://events.pagerduty.com/v2/enqueue"
ACTIONS = {"firing": "trigger", "acknowledged": "acknowledge", "resolved": "resolve"}
MOST_KEY, MOST_SUMMARY = 255, 1024  # characters, by the API's documentation


class PagerDutyChannel:
    """`ports.Channel`. One event for each alert; when a later one fails, all are sent again, which changes nothing."""

    def __init__(self, name: str, routing_key: Secret, url: str, ca_file: str) -> None:
        self.name = name
        self._routing_key = routing_key
        self._poster = Poster(url, ca_file)

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """Trigger, acknowledge or resolve; a test is triggered and resolved at once."""
        said = ""
        for alert in notification.alerts:
            for action in ("trigger", "resolve") if notification.test else (ACTIONS.get(alert.state, "trigger"),):
                body = msgspec.json.encode(event(self._routing_key.reveal(), action, alert, notification.test))
                headers = {"Content-Type": "application/json", "Idempotency-Key": header(notification.id)}
                answer = await self._poster.post(body, headers, deadline=deadline)
                said = f"HTTP {answer.status}, {action} {dedup_key(alert)}"
        count = len(notification.alerts)
        return said if count == 1 else f"{count} events; the last: {said}"


def dedup_key(alert: Alert) -> str:
    """Stable for the alert; what is longer than PagerDuty allows, or says what a terminal obeys, by its hash."""
    if len(alert.key) <= MOST_KEY and alert.key.isprintable():
        return alert.key
    return "sha256:" + hashlib.sha256(alert.key.encode(errors="surrogatepass")).hexdigest()


def event(routing_key: str, action: str, alert: Alert, test: bool) -> dict[str, Any]:
    """One event of Events API v2."""
    made: dict[str, Any] = {"routing_key": routing_key, "event_action": action, "dedup_key": dedup_key(alert)}
    if action != "trigger":
        return made
    mark = "TEST: " if test else ""
    made["client"] = "rmm"
    made["payload"] = {
        "summary": tidy(f"{mark}{tidy(alert.name, 200)}: {alert.summary}", MOST_SUMMARY),
        "source": tidy(alert.name, 200) or "rmm",
        "severity": "critical" if alert.severity == "critical" else "warning",
        "timestamp": alert.first_at.isoformat(),
        "component": tidy(alert.row, 200),
        "group": tidy(alert.site, 200),
        "class": tidy(alert.rule, 200),
        "custom_details": {
            "value": tidy(alert.value, 500),
            "count": alert.count,
            "endpoint": tidy(alert.endpoint, 200),
        },
    }
    return made


def build(*, name: str, options: Mapping[str, Any]) -> PagerDutyChannel:
    """Options: `routing_key` ({vault: NAME}), `url` (another region's address), `ca_file`."""
    check_names(name, options, _OPTIONS)
    key = secret_of(name, options, "routing_key")
    url = url_of(name, options, secret=False, default=URL)
    return PagerDutyChannel(name, key, url, text_of(name, options, "ca_file"))
