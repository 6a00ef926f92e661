"""The outgoing log of a site collector."""

from rmm.tiers.outgoing.keeper import OutgoingLog, in_memory, open_outgoing, spooled_at
from rmm.tiers.outgoing.log import Log
from rmm.tiers.outgoing.memory import MemoryShelf
from rmm.tiers.outgoing.shelf import Shelf
from rmm.tiers.outgoing.sqlite import SqliteShelf, path_of, prepare

__all__ = [
    "Log",
    "MemoryShelf",
    "OutgoingLog",
    "Shelf",
    "SqliteShelf",
    "in_memory",
    "open_outgoing",
    "path_of",
    "prepare",
    "spooled_at",
]
