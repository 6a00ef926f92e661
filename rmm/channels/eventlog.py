"""The Windows event log as a channel: one entry of the Application log for each alert. On Windows alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from rmm.channels._options import check_names, text_of
from rmm.channels._text import tidy
from rmm.errors import ChannelError, ConfigError, UnsupportedError
from rmm.model.rule import Alert, Notification

ERROR, WARNING, INFORMATION = 1, 2, 4  # EVENTLOG_ERROR_TYPE and its siblings, winnt.h
WINDOWS = sys.platform.startswith("win")
MOST_TEXT = 8000  # characters; ReportEvent takes 31,839
EVENTS = {"firing": 1001, "acknowledged": 1002, "resolved": 1003}


class EventLogChannel:
    """`ports.Channel`. The source needs no message file: Event Viewer shows the text with a remark that it has none."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self._source = source

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """Write one entry for each alert."""
        entries = [entry(alert, notification) for alert in notification.alerts]
        await asyncio.to_thread(_report, self._source, entries)
        return f"{len(entries)} written as {self._source}"


def entry(alert: Alert, notification: Notification) -> tuple[int, int, str]:
    """(type, event id, text)."""
    kind = ERROR if alert.severity == "critical" else WARNING
    if alert.state == "resolved" or notification.test:
        kind = INFORMATION
    mark = "TEST: " if notification.test else ""
    text = "\r\n".join(
        [
            tidy(f"{mark}{alert.state}: {tidy(alert.name, 200)}: {alert.summary}"),
            tidy(f"rule {alert.rule}, severity {alert.severity}, site {alert.site}, endpoint {alert.endpoint}"),
            tidy(f"since {alert.first_at.isoformat()}, key {notification.id}"),
        ]
    )
    return kind, EVENTS.get(alert.state, 1000), text[:MOST_TEXT]


def _report(source: str, entries: list[tuple[int, int, str]]) -> None:
    if sys.platform == "win32":
        import ctypes

        api = ctypes.WinDLL("advapi32", use_last_error=True)
        api.RegisterEventSourceW.restype = ctypes.c_void_p
        api.RegisterEventSourceW.argtypes = (ctypes.c_wchar_p, ctypes.c_wchar_p)
        api.DeregisterEventSource.argtypes = (ctypes.c_void_p,)
        api.ReportEventW.argtypes = (
            ctypes.c_void_p, ctypes.c_ushort, ctypes.c_ushort, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_ushort,
            ctypes.c_uint32, ctypes.POINTER(ctypes.c_wchar_p), ctypes.c_void_p,
        )  # fmt: skip
        handle = api.RegisterEventSourceW(None, source)
        if not handle:
            raise _failure(ctypes.get_last_error())
        try:
            for kind, event, text in entries:
                strings = (ctypes.c_wchar_p * 1)(text)
                if not api.ReportEventW(handle, kind, 0, event, None, 1, 0, strings, None):
                    raise _failure(ctypes.get_last_error())
        finally:
            api.DeregisterEventSource(handle)
    else:
        raise UnsupportedError(_ONLY, status="CONFIG", hint=_INSTEAD)


_ONLY = "the event log is Windows' own: a channel of type eventlog works there alone"
_INSTEAD = "On this system use type syslog, or log."


def _failure(code: int) -> ChannelError:
    return ChannelError(
        f"the event log did not take it: Windows error {code}", hint="May this account write to the Application log?"
    )


def build(*, name: str, options: Mapping[str, Any]) -> EventLogChannel:
    """Option `source`: the name under which entries are written."""
    check_names(name, options, {"source"})
    if not WINDOWS:
        raise ConfigError(f"channel {name}: {_ONLY}", hint=_INSTEAD)
    return EventLogChannel(name, text_of(name, options, "source", "rmm") or "rmm")
