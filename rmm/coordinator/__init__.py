"""Merges observations into the fleet view, evaluates rules, and sees that channels are told."""

from rmm.coordinator.service import Coordinator, tell_fault

__all__ = ["Coordinator", "tell_fault"]
