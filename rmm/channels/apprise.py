"""Channels through apprise: SMS, Telegram, Signal, Matrix and many others, by their apprise URLs. Needs that extra."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmm.channels._options import check_names, secret_of, text_of
from rmm.channels._text import Templates, view
from rmm.errors import ChannelError, ConfigError
from rmm.model.rule import Notification


class AppriseChannel:
    """`ports.Channel`. The URL holds secrets: it is in no error, and apprise's own log is off."""

    def __init__(self, name: str, service: Any, kind: str, template: str, templates: Templates) -> None:
        self.name = name
        self._service = service
        self._kind = kind
        self._template = template
        self._templates = templates

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """Send it; apprise says yes or no, and no more."""
        values = view(notification)
        text = self._templates.render(self._template, values)
        kind = "success" if not values["firing"] else "failure" if values["severity"] == "critical" else "warning"
        title = values["title"] if self._template != "short.txt" else ""

        def call() -> bool:
            return bool(self._service.notify(body=text, title=title, notify_type=kind, body_format="text"))

        if not await _detached(call):
            raise ChannelError(
                f"{self._kind} did not take it", hint="Check the URL in the vault: apprise says no more than that."
            )
        return f"taken by {self._kind}"


async def _detached(call: Any) -> bool:
    """Run in a thread that keeps no process from ending: a library that hangs is left behind at the deadline."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def settle(result: bool, error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(result)
            else:  # its text may have the URL
                done.set_exception(ChannelError(f"apprise failed with {type(error).__name__}"))

    def work() -> None:
        result, failure = False, None
        try:
            result = call()
        except Exception as error:  # any of a hundred plugins
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="apprise", daemon=True).start()
    return await done


def build(*, name: str, options: Mapping[str, Any]) -> AppriseChannel:
    """Options: `url` ({vault: NAME}), `short: true` for a single line (SMS)."""
    check_names(name, options, {"url", "short", "templates"})
    url = secret_of(name, options, "url").reveal()
    import apprise

    for noisy in ("apprise", "urllib3", "requests"):  # they log URLs
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise()
    try:
        taken = service.add(url)
    except Exception as error:
        raise ConfigError(f"channel {name}: url: apprise cannot read it ({type(error).__name__})") from None
    if not taken or len(service) != 1:
        raise ConfigError(f"channel {name}: url: apprise does not know such an address")
    folder = text_of(name, options, "templates")
    template = "short.txt" if options.get("short") else "message.txt"
    kind = str(service[0].service_name)
    return AppriseChannel(name, service, kind, template, Templates(Path(folder) if folder else None))
