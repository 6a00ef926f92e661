"""Parsing, and what Windows PowerShell 5.1 or the wire form cannot carry."""

from __future__ import annotations

from rmm.catalog.check.finding import Mark, Marks, Node, text, walk
from rmm.errors import CatalogError

_NEWER = {
    "ternary_expression": "the ternary operator",
    "ternary_argument_expression": "the ternary operator",
    "null_coalesce_expression": "the operator ??",
    "null_coalesce_argument_expression": "the operator ??",
}
_STRINGS = frozenset({"string_literal", "verbatim_here_string_characters", "expandable_here_string_literal"})


def parse(source: str) -> Node:
    """The syntax tree's root. Raises CatalogError where the parser is not installed."""
    try:
        import tree_sitter
        import tree_sitter_pwsh
    except ImportError as error:
        raise CatalogError(
            "checking PowerShell needs the extra `check`", hint="Run: pip install 'mytech-rmm[check]'"
        ) from error
    language = tree_sitter.Language(tree_sitter_pwsh.language())
    return tree_sitter.Parser(language).parse(source.encode()).root_node


def syntax_marks(root: Node) -> Marks:
    """Errors, syntax newer than 5.1, and texts or comments over several lines."""
    broken = False
    for node in walk(root):
        if node.type == "ERROR" or node.is_missing:
            if not broken:
                broken = True
                yield Mark(node, "syntax", _why(node))
        elif node.type in _NEWER:
            yield Mark(node, "syntax-5.1", f"Windows PowerShell 5.1 does not have {_NEWER[node.type]}")
        elif node.type == "pipeline_chain_tail":
            yield Mark(node, "syntax-5.1", f"Windows PowerShell 5.1 does not have the operator {text(node)[:2]}")
        elif node.type == "assignment_operator" and text(node) == "??=":
            yield Mark(node, "syntax-5.1", "Windows PowerShell 5.1 does not have the operator ??=")
        elif node.type in ("class_statement", "enum_statement", "using_statement"):
            yield Mark(node, "static", "classes, enumerations and using cannot stand inside a bundle")
        elif node.type == "flow_control_statement" and text(node).casefold().startswith("exit"):
            yield Mark(node, "static", "exit ends the whole bundle, not this collector")
        elif _spans_lines(node):
            yield Mark(node, "one-line", "a text or comment over several lines is not kept on its way to the endpoint")


def _why(node: Node) -> str:
    around = text(node.parent if node.parent is not None else node)
    if "?." in around or "?[" in around:
        return "Windows PowerShell 5.1 does not have ?. and ?[]"
    return "cannot be parsed as PowerShell"


def _spans_lines(node: Node) -> bool:
    if node.type == "comment" or node.type in _STRINGS:
        return bool(node.start_point[0] != node.end_point[0])
    return False
