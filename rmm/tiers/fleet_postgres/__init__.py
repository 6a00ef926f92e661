"""The fleet's database in PostgreSQL, behind the port of `rmm.tiers.fleet_sqlite`. Needs the extra `postgres`."""

from rmm.tiers.fleet_postgres.address import Address
from rmm.tiers.fleet_postgres.place import Server

__all__ = ["Address", "Server"]
