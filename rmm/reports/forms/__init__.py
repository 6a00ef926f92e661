"""The formats of reports: one file each, with `render(document) -> bytes`; found by name."""
