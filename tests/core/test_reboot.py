"""What a restart looks like from here, and what must not be taken for one."""

from datetime import UTC, datetime, timedelta

import pytest

from rmm.core.reboot import WINDOW, is_rebooting
from rmm.model.state import EndpointState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def known(status: str, good_ago_s: float | None = 60) -> EndpointState:
    return EndpointState(
        endpoint="a", name="A", site="hq", observed_at=NOW - timedelta(seconds=60), status=status, fault=None,
        duration_s=0.1, epoch="00" * 8, seq=1,
        succeeded_at=NOW - timedelta(seconds=good_ago_s) if good_ago_s is not None else None,
    )  # fmt: skip


@pytest.mark.parametrize("code", ["tcp.reset", "tcp.refused", "tcp.timeout", "http.unavailable", "tls.reset"])
def test_a_lost_session_and_then_nobody(code: str) -> None:
    assert is_rebooting(code, None, NOW, lost_session=True)
    assert not is_rebooting(code, None, NOW, lost_session=False)


@pytest.mark.parametrize(
    ("status", "code", "restarting"),
    [
        ("OK", "tcp.reset", True),
        ("PARTIAL", "tls.reset", True),
        ("OK", "http.unavailable", True),
        ("OK", "tcp.timeout", False),
        ("OK", "tcp.refused", False),
        ("OK", "tcp.no_route", False),
        ("UNREACHABLE", "tcp.reset", False),
        ("UNREACHABLE", "http.unavailable", True),
        ("REBOOTING", "tcp.timeout", True),
        ("REBOOTING", "auth.rejected", False),
        ("AUTH_REJECTED", "tcp.reset", False),
    ],
)
def test_by_what_was_known(status: str, code: str, restarting: bool) -> None:
    assert is_rebooting(code, known(status), NOW, lost_session=False) is restarting


@pytest.mark.parametrize("status", ["OK", "REBOOTING"])
def test_the_window_closes(status: str) -> None:
    within, after = WINDOW.total_seconds() - 1, WINDOW.total_seconds() + 1
    assert is_rebooting("tcp.reset", known(status, within), NOW, lost_session=False)
    assert not is_rebooting("tcp.reset", known(status, after), NOW, lost_session=False)
    assert not is_rebooting("tcp.reset", known(status, -5), NOW, lost_session=False)  # the clock was set back
