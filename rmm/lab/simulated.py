"""A simulated machine that answers: its state together with the CIM repository that its fleet shares."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rmm.lab.cim import Cim
from rmm.lab.cim.moment import Moment
from rmm.lab.machine import CimInstances
from rmm.lab.state import MachineState


class LabMachine(MachineState):
    """Implements `rmm.lab.machine.Machine`. The traits are those of MachineState."""

    __slots__ = ("repository",)

    def __init__(self, repository: Cim, **traits: Any) -> None:
        super().__init__(**traits)
        self.repository = repository

    @property
    def tags(self) -> tuple[str, ...]:
        """For the endpoint list."""
        return ("lab", self.os.kind, *([self.role] if self.role else []), self.language.name)

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"{self.os.caption}, {self.hardware.model.model}"

    def moment(self, now: datetime) -> Moment:
        """This machine at `now`."""
        return self.repository.moment(self, now)

    def query(self, namespace: str, wql: str, now: datetime) -> CimInstances:
        """Answer a WQL query. Raises CimFault."""
        return self.repository.query(self, namespace, wql, now)
