"""Reports: one file each, with `build()`; they see the fleet through `ports.FleetReader` alone."""
