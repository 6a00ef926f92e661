"""Frozen data types with a versioned encoding; they decide nothing and do no I/O."""
