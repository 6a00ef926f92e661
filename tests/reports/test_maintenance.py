"""Maintenance windows in the uptime of reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from rmm.app import open_app
from rmm.model.alerting import Scope, Window
from rmm.report_view import ReportView

HOUR = 3_600_000_000
DAY = timedelta(days=1)


def test_maintenance_is_of_the_endpoints_that_a_window_is_about(fleet: Path) -> None:
    app = open_app(fleet, lambda: "")
    until = datetime.now(UTC).replace(microsecond=0)
    since = until - 4 * DAY
    before = ReportView(app).uptime(since, until, 1800)
    own, other = [one for one in app.settings.endpoints if one.enabled and one.name != "PC-NEW"][:2]
    begins = (until - 2 * DAY).replace(tzinfo=None)
    once = Window(
        name="move", scope=Scope(endpoint=(own.id,)), timezone="UTC", begins=begins, ends=begins + timedelta(hours=5)
    )
    single = Window(name="one rule", scope=Scope(rule=("cpu_high",)), timezone="UTC", cron="0 * * * *", lasts_s=1800)
    app.settings = msgspec.structs.replace(app.settings, windows=(once, single))
    after = ReportView(app).uptime(since, until, 1800)
    assert after[other.id] == before[other.id]
    assert before[own.id].maintenance == 0 and after[own.id].maintenance == 5 * HOUR
    assert sum(after[own.id][:4]) == sum(before[own.id][:4]) == 4 * 24 * HOUR
