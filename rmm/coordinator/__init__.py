"""Merges observations into the fleet view, evaluates rules, and sees that channels are told."""

from rmm.coordinator.delivery import tell_fault
from rmm.coordinator.service import Coordinator
from rmm.coordinator.several import SitesCoordinator

__all__ = ["Coordinator", "SitesCoordinator", "tell_fault"]
