"""The store as a whole, for who looks after it: what lies where, checks, repair, backup and restore."""
