"""Types and members: only those of the .NET Framework on which Windows PowerShell 5.1 runs, and only such as read."""

from __future__ import annotations

import re

from rmm.catalog.check import facts
from rmm.catalog.check.finding import Mark, Marks, Node, literal, named, text, walk

_ACTING = re.compile(
    r"(set(?!timezone)[a-z]|write|delete|create|kill|move|copyto|put\Z|appendall|start\Z|stop\Z|invoke|download|upload|exit\Z|encrypt)",
    re.IGNORECASE,
)
# COM classes that scripts may make objects of, and those of their methods that only tell something.
_COM = {"schedule.service": frozenset({"connect/0", "getfolder/1", "getfolders/1", "gettasks/1"})}
# Groups of the directory interface WinNT, which [ADSI] gives, list their members by a method.
_COM_METHODS = frozenset({"members/0"}).union(*_COM.values())
_TEXT_OPERATORS = ("-join", "-replace")


def member_marks(root: Node) -> Marks:
    """Every type that is named, and every method that is called or static member that is read."""
    for node in walk(root):
        if node.type == "type_literal":
            yield from _type(node)
        elif node.type in ("invocation_expression", "member_access"):
            yield from _member(node)
        elif node.type == "command" and text(node).casefold().startswith("new-object"):
            yield from _new_object(node)
        elif node.type == "format_operator":
            yield Mark(
                node, "culture", "-f formats by the endpoint's culture; put values into the document as they are"
            )


def type_name(node: Node) -> str:
    """`System.Math` of `[System.Math]`; element type of arrays, generic types with their arity."""
    name = re.sub(r"\s", "", text(node))[1:-1].removesuffix("[]")
    if "[" in name:
        outer, _, inner = name.partition("[")
        return f"{outer}`{inner.count(',') + 1}"
    return name


def type_problem(name: str) -> tuple[str, str] | None:
    """(rule, message) of a type that 5.1 lacks; `name` as `type_name` gives it."""
    if facts.is_own_type(name) or facts.members(name) is not None:
        return None
    return "type-5.1", f"the .NET Framework of Windows PowerShell 5.1 has no type {name}"


def _type(node: Node) -> Marks:
    if reason := type_problem(type_name(node)):
        yield Mark(node, *reason)


def _new_object(node: Node) -> Marks:
    words = [text(child) for child in walk(node) if child.type in ("generic_token", "command_parameter")]
    if any(word.casefold() == "-comobject" for word in words):
        name = literal(named(node)["comobject"]) if "comobject" in named(node) else None
        if (name or "").casefold() not in _COM:
            yield Mark(node, "com", f"COM objects are made of {', '.join(sorted(_COM))} alone")
        return
    strings = [literal(child) for child in walk(node) if child.type == "string_literal"]
    names = [word for word in [*words, *strings] if word and not word.startswith("-")]
    if names and (reason := type_problem(names[0])):
        yield Mark(node, *reason)


def _member(node: Node) -> Marks:
    place = next((child for child in node.children if child.type == "member_name"), None)
    if place is None:
        return
    name = text(place)
    if not place.children or place.children[0].type != "simple_name":
        yield Mark(place, "dynamic", "a member is named by a constant")
        return
    receiver = node.children[0]
    count = _arguments(node) if node.type == "invocation_expression" else None
    if any(child.type == "::" for child in node.children):
        owner = type_name(receiver) if receiver.type == "type_literal" else None
        reason = static_problem(owner, name, count)
    else:
        reason = instance_problem(_kind_of(receiver), name, count)
    if reason:
        yield Mark(place, *reason)


def _acting(name: str, count: int | None) -> tuple[str, str] | None:
    return ("writes", f"{name}() does more than read") if count is not None and _ACTING.match(name) else None


def _arguments(node: Node) -> int:
    lists = [child for child in node.children if child.type == "argument_list"]
    inner = [child for found in lists for child in found.children if child.type == "argument_expression_list"]
    return sum(1 for found in inner for child in found.children if child.is_named)


def static_problem(owner: str | None, name: str, count: int | None) -> tuple[str, str] | None:
    """(rule, message) of a static member that 5.1 lacks or that acts; `count` of arguments, None for a property."""
    known = facts.members(owner) if owner else None
    if (acting := _acting(name, count)) or known is None:
        return acting
    plain = name.casefold()
    if count is None:
        fields = known.get("static_properties", frozenset()) | known.get("static_fields", frozenset())
        lacks = plain not in fields
        message = f"[{owner}] of Windows PowerShell 5.1 has no static {name}"
    elif plain == "new":
        lacks = str(count) not in known.get("constructors", frozenset())
        message = f"[{owner}] of 5.1 has no constructor with {count} arguments"
    else:
        lacks = f"{plain}/{count}" not in known.get("static_methods", frozenset())
        message = f"[{owner}]::{name} with {count} arguments does not exist in 5.1"
    return ("member-5.1", message) if lacks else None


def instance_problem(kind: str | None, name: str, count: int | None) -> tuple[str, str] | None:
    """(rule, message) of a method that no object, or none of type `kind`, has in 5.1, or that acts."""
    if (acting := _acting(name, count)) or count is None:
        return acting
    wanted = f"{name.casefold()}/{count}"
    known = facts.members(kind) if kind else None
    if known is not None:
        lacks = wanted not in known.get("methods", frozenset())
        return ("member-5.1", f"{name} with {count} arguments does not exist on {kind} in 5.1") if lacks else None
    usual = facts.usual_methods()
    if any(method.startswith(f"{name.casefold()}/") for method in usual):
        return None if wanted in usual else ("member-5.1", f"{name} with {count} arguments does not exist in 5.1")
    if wanted in facts.all_methods() or wanted in _COM_METHODS:
        return None
    return "member-5.1", f"no type of the .NET Framework has a method {name} with {count} arguments"


def _kind_of(node: Node) -> str | None:
    """The type of a receiver, where its text alone says it."""
    while node.type in ("parenthesized_expression", "unary_expression", "pipeline", "pipeline_chain"):
        inner = [child for child in node.children if child.is_named]
        if len(inner) != 1:
            return None
        node = inner[0]
    if node.type == "string_literal":
        return "System.String"
    if node.type == "expression_with_unary_operator" and node.children[0].type == "cast_expression":
        return type_name(node.children[0].children[0])
    if node.type == "comparison_expression" and any(text(c).casefold() in _TEXT_OPERATORS for c in node.children):
        return "System.String"
    return None
