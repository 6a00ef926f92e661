"""The hub of several sites: who is who, what sites send, and what they are told."""
