"""Writes YAML that `rmm.document` reads as the same values: it has its own idea of what is a number or a word."""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z", re.ASCII)


class _Dumper(yaml.SafeDumper):
    """Plain where a text cannot be taken for anything else; without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _PLAIN.match(text) else '"')


_Dumper.add_representer(str, _text)


def yaml_of(data: dict[str, Any], comment: str) -> bytes:
    """A document of plain values, with a comment above it."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
    return f"# {comment}\n{text}".encode()
