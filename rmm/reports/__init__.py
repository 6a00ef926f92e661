"""Reports: one file each, with `build()`; they see the fleet through `sources.Sources`, and know no format."""
