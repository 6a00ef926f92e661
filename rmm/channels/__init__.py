"""Ways to tell people and programs: one file per channel, each with `build(name, options)`."""
