"""Carries encoded observations from pollers to the coordinator."""
