"""Is a machine that does not answer on its way back from a restart? Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rmm.model.observation import OK, PARTIAL, REBOOTING, TIMEOUT, UNREACHABLE
from rmm.model.state import EndpointState

WINDOW = timedelta(minutes=10)  # after the last good poll; a machine that takes longer is down
DOWN = frozenset({"tcp.refused", "tcp.reset", "tcp.timeout", "tcp.no_route", "tls.reset", "http.unavailable"})
GOING = frozenset({"tcp.reset", "tls.reset", "http.unavailable"})  # the machine is on, its services are not


def is_rebooting(code: str, state: EndpointState | None, now: datetime, *, lost_session: bool) -> bool:
    """Whether a poll that ended with `code` met a machine that restarts.

    It does when it had a session, lost it, and then found nobody there; while an earlier poll has found that already,
    for WINDOW; when the machine accepts connections and then ends them although the last poll, no longer ago than
    WINDOW, was a good one; and when WinRM says that it is starting (503) after such a poll or on a machine that was
    out of reach. One that does not answer at all, or refuses, may as well be off: that is told at once.

    Args:
        code: the fault of the last attempt, which had no session.
        state: what is known of the endpoint from earlier polls.
        now: when this poll began.
        lost_session: whether an attempt of this poll was logged on before the connection ended.
    """
    if code not in DOWN:
        return False
    if lost_session:
        return True
    if state is None:
        return False
    since = state.succeeded_at or (state.failed_at[0] if state.failed_at else state.observed_at)
    recent = timedelta(0) <= now - since <= WINDOW
    if state.status == REBOOTING:
        return recent
    if state.status in (OK, PARTIAL):
        return recent and code in GOING
    return code == "http.unavailable" and state.status in (UNREACHABLE, TIMEOUT)
