"""The state of a machine, as PowerShell's stand-ins for Windows' commands read it."""
