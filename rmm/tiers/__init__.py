"""Adapters that keep observations: spool, hot JSON, cold SQLite, and the fleet view."""
