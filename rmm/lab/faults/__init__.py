"""Scripted failures: a plan says which machines fail in which way. A new kind is one file here with `build()`."""

from rmm.lab.faults.plan import Fault, MachineFaults, Plan, load_plan

__all__ = ["Fault", "MachineFaults", "Plan", "load_plan"]
