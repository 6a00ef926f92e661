"""Merges observations into the fleet view, evaluates rules, and sees that channels are told."""

from rmm.coordinator.delivery import tell_fault
from rmm.coordinator.service import Coordinator

__all__ = ["Coordinator", "tell_fault"]
