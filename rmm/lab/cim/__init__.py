"""The CIM repository of a simulated machine: `Cim` answers WQL queries from the machine's state."""

from rmm.lab.cim.repository import Cim

__all__ = ["Cim"]
