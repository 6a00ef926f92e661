"""The command line: parse, call `rmm.app`, print. One file per command group, found by its name."""
