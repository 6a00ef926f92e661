"""Agentless monitoring of Windows fleets over PowerShell Remoting."""

__version__ = "0.1.0"
