"""The coordinator's database: fleet view, alerts, notifications."""

from rmm.tiers.fleet_sqlite.board import BoardFile
from rmm.tiers.fleet_sqlite.outbox import Fared
from rmm.tiers.fleet_sqlite.reader import FleetFile, Refused
from rmm.tiers.fleet_sqlite.writer import FleetStore, Stamp, alone

__all__ = ["BoardFile", "Fared", "FleetFile", "FleetStore", "Refused", "Stamp", "alone"]
