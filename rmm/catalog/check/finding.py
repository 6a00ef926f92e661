"""One finding of the checker, and the places of a syntax tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Node = Any  # tree_sitter.Node


class Finding(NamedTuple):
    """Why a collector is refused; line and column count from 1."""

    file: str
    line: int
    column: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message} [{self.rule}]"


class Mark(NamedTuple):
    """A finding before its file is known."""

    node: Node
    rule: str
    message: str


Marks = Iterator[Mark]


def text(node: Node) -> str:
    """The source text of a node."""
    found: bytes = node.text
    return found.decode("utf-8", "replace")


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the text."""
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(here.children))


def literal(node: Node) -> str | None:
    """The value of a constant string or bare word; None for anything that is computed."""
    while node.type in ("unary_expression", "string_literal") and node.child_count == 1:
        node = node.children[0]
    if node.type == "verbatim_string_characters":
        return text(node)[1:-1].replace("''", "'")
    if node.type in ("generic_token", "simple_name", "decimal_integer_literal"):
        return text(node)
    if node.type == "expandable_string_literal" and not any(child.is_named for child in node.children):
        return text(node)[1:-1]
    return None


def named(node: Node) -> dict[str, Node]:
    """Parameter name of a command, lower case -> the node of its value; `classname` for what stands alone."""
    found: dict[str, Node] = {}
    waiting = ""
    elements = next((child for child in node.children if child.type == "command_elements"), None)
    for child in elements.children if elements is not None else ():
        if child.type == "command_parameter":
            waiting = text(child).lstrip("-").rstrip(":").casefold()
        elif child.type != "command_argument_sep":
            found.setdefault(waiting or "classname", child)
            waiting = ""
    return found
