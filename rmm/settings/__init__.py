"""Typed YAML settings and the endpoint list: defaults < file < environment < flag."""
