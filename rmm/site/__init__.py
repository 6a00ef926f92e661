"""A site collector: its identity, its way to the hub, and its configuration."""
