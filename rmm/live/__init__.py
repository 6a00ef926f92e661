"""The live view: the fleet on a terminal, as it is now."""
