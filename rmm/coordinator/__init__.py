"""Merges observations into the fleet view, evaluates rules, and sees that channels are told."""

from rmm.coordinator.service import Coordinator

__all__ = ["Coordinator"]
