"""The coordinator's database: fleet view, alerts, notifications; in a file, or behind the same port elsewhere."""

from rmm.tiers.fleet_sqlite.board import BoardFile
from rmm.tiers.fleet_sqlite.database import Database, Place, place_of, retried
from rmm.tiers.fleet_sqlite.folder import InFolder, alone
from rmm.tiers.fleet_sqlite.outbox import Fared
from rmm.tiers.fleet_sqlite.reader import FleetFile, Refused
from rmm.tiers.fleet_sqlite.writer import FleetStore, Stamp

__all__ = [
    "BoardFile", "Database", "Fared", "FleetFile", "FleetStore", "InFolder", "Place", "Refused", "Stamp", "alone",
    "place_of", "retried",
]  # fmt: skip
