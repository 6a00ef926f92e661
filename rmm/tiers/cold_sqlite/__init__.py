"""The cold tier: one SQLite file per shard with the history of samples and of changes."""

from rmm.tiers.cold_sqlite.everyone import SiteHistory
from rmm.tiers.cold_sqlite.reader import ColdReader
from rmm.tiers.cold_sqlite.series import CollectorFields, fields_of
from rmm.tiers.cold_sqlite.writer import ColdTier

__all__ = ["ColdReader", "ColdTier", "CollectorFields", "SiteHistory", "fields_of"]
