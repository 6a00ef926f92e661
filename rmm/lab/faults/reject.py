"""Every logon is rejected, with whatever password."""

from __future__ import annotations

from rmm.lab.faults.plan import Fault


class Reject(Fault):
    refuses_logons = True


def build() -> Reject:
    return Reject()
