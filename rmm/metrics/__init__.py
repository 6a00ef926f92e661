"""Metrics of the fleet and of rmm itself, for Prometheus."""
