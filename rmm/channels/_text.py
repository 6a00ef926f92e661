"""What a notification says to people: its values made harmless, and templates that put them into words.

Values come from endpoints and are data alone: they are never read as templates, have no control characters, and are
bounded. Templates are the operator's: sandboxed, and bounded in time and size all the same.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rmm.errors import TemplateError
from rmm.model.rule import Alert, Notification
from rmm.resources import shipped

log = logging.getLogger(__name__)

MOST_ALERTS = 50  # that are named in one message
MOST_NAME, MOST_SUMMARY = 200, 1000  # characters
MOST_OUTPUT = 256 << 10  # characters that a template may make
_COMPILED = ("root", "block_", "macro")  # names of functions that jinja2 makes of a template
MOST_S = 1.0  # seconds that it may take
# Those that make no more of a text than it is.
FILTERS = (
    "abs", "capitalize", "count", "default", "e", "escape", "first", "float", "int", "last", "length", "list", "lower",
    "max", "min", "reject", "rejectattr", "round", "select", "selectattr", "sort", "string", "striptags", "sum",
    "title", "trim", "truncate", "unique", "upper", "urlencode",
)  # fmt: skip
# C0 and C1 controls, marks that reorder text, and lone surrogates.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")


def tidy(value: Any, most: int = MOST_SUMMARY) -> str:
    """One line of harmless text."""
    text = _STEERING.sub(" ", str(value)[: most * 4]).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def view(notification: Notification) -> dict[str, Any]:
    """What templates and channels see: plain texts and numbers."""
    alerts = [_alert(alert) for alert in notification.alerts[:MOST_ALERTS]]
    firing = [alert for alert in alerts if alert["state"] != "resolved"]
    count = len(notification.alerts)
    return {
        "kind": tidy(notification.kind),
        "test": notification.test,
        "digest": notification.digest,
        "at": _moment(notification.at),
        "alerts": alerts,
        "count": count,
        "more": count - len(alerts),
        "firing": sum(alert.state != "resolved" for alert in notification.alerts),
        "resolved": sum(alert.state == "resolved" for alert in notification.alerts),
        "severity": "critical" if any(one["severity"] == "critical" for one in firing) else "warning",
        "title": _title(notification, alerts),
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "key": tidy(alert.key),
        "rule": tidy(alert.rule, MOST_NAME),
        "endpoint": tidy(alert.endpoint, MOST_NAME),
        "name": tidy(alert.name, MOST_NAME),
        "site": tidy(alert.site, MOST_NAME),
        "severity": tidy(alert.severity, MOST_NAME),
        "state": tidy(alert.state, MOST_NAME),
        "summary": tidy(alert.summary),
        "value": tidy(alert.value, MOST_NAME) if not isinstance(alert.value, dict) else "",
        "count": alert.count,
        "first_at": _moment(alert.first_at),
        "last_at": _moment(alert.last_at),
        "resolved_at": _moment(alert.resolved_at) if alert.resolved_at else "",
        "row": tidy(alert.row, MOST_NAME),
    }


def _moment(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")


def _title(notification: Notification, alerts: list[dict[str, Any]]) -> str:
    mark = "TEST " if notification.test else ""
    if notification.digest or len(notification.alerts) != 1:
        what = "Summary" if notification.digest else "Alerts"
        ended = sum(alert.state == "resolved" for alert in notification.alerts)
        return f"{mark}{what}: {len(notification.alerts) - ended} firing, {ended} resolved"
    alert = alerts[0]
    word = alert["severity"].upper() if notification.kind == "firing" else notification.kind.upper()
    return tidy(f"{mark}{word}: {alert['name']}: {alert['summary']}", 300)


class Templates:
    """Templates by file name: the configuration's own, else the shipped ones."""

    def __init__(self, own: Path | None) -> None:
        self._shipped = _environment([shipped("config") / "templates"])
        self._own = _environment([own]) if own is not None and own.is_dir() else None

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The text; where the configuration's own template fails, the shipped one says it, with a warning."""
        if self._own is not None:
            try:
                return self.own(name, values)
            except TemplateNotFound:
                pass
            except TemplateError as error:
                log.warning("%s", error)
        return _bounded(self._shipped, name, values)

    def own(self, name: str, values: Mapping[str, Any]) -> str:
        """The configuration's own template alone. Raises TemplateNotFound and TemplateError."""
        if self._own is None:
            raise TemplateNotFound(name)
        try:
            return _bounded(self._own, name, values)
        except TemplateNotFound as error:
            if error.name == name:
                raise
            raise TemplateError(f"templates/{name}: it includes {error.name}, which there is not") from error
        except RecursionError as error:
            raise TemplateError(f"templates/{name}: it includes itself") from error
        except (JinjaError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            line = getattr(error, "lineno", None)
            place = f"templates/{name}:{line}" if isinstance(line, int) else f"templates/{name}"
            raise TemplateError(f"{place}: {type(error).__name__}: {error}") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    """No operator that makes much of little."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not all(isinstance(side, int | float) and abs(side) < 1e9 for side in (left, right)):
            raise TypeError(f"{operator} is for numbers below 10^9")
        if operator == "**":
            raise TypeError("** is not for templates")
        return super().call_binop(context, operator, left, right)


def _environment(folders: list[Path]) -> ImmutableSandboxedEnvironment:
    made = _Sandbox(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.clear()  # no range, lipsum and the like: loops go over alerts
    made.filters = {name: made.filters[name] for name in FILTERS} | {"join": _join}
    return made


def _join(values: Iterable[Any], between: str = ", ") -> str:
    """`join` that cannot make much of little."""
    parts = [tidy(value) for value in values][:MOST_ALERTS]
    return tidy(between, 10).join(parts)


def _swollen(frame: FrameType) -> bool:
    return any(isinstance(value, str) and len(value) > MOST_OUTPUT for value in frame.f_locals.values())


def _bounded(environment: ImmutableSandboxedEnvironment, name: str, values: Mapping[str, Any]) -> str:
    """Render, with an end: a trace function looks at the clock at every line, also where nothing is put out."""
    until = time.monotonic() + MOST_S

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > until:
            raise TemplateError(f"templates/{name}: it takes more than {MOST_S:g} s")
        if event == "line" and frame.f_code.co_name.startswith(_COMPILED) and _swollen(frame):
            raise TemplateError(f"templates/{name}: it makes more than {MOST_OUTPUT} characters")
        return watch

    template = environment.get_template(name)
    parts, size, before = [], 0, sys.gettrace()
    sys.settrace(watch)
    try:
        for part in template.generate(**values):
            parts.append(part)
            size += len(part)
            if size > MOST_OUTPUT:
                raise TemplateError(f"templates/{name}: it makes more than {MOST_OUTPUT} characters")
    finally:
        sys.settrace(before)
    return "".join(parts)
