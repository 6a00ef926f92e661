"""CIM: only classes and properties that Windows has, in queries and in what the script reads of their results."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from rmm.catalog.check import facts
from rmm.catalog.check.commands import name_of
from rmm.catalog.check.finding import Mark, Marks, Node, literal, named, text, walk
from rmm.catalog.wql import Query, parse_query

_ALWAYS = frozenset({"pscomputername", "cimclass", "ciminstanceproperties", "cimsystemproperties", "count", "length"})


class _Result(NamedTuple):
    class_name: str
    properties: frozenset[str]


def query_problem(wql: str, namespace: str) -> str:
    """Why Windows would refuse a query; empty when it would not."""
    query = parse_query(wql)
    if isinstance(query, str):
        return query
    return _class_problem(query, namespace)


def _class_problem(query: Query, namespace: str) -> str:
    if query.class_name.casefold() == "win32_product":
        return "Win32_Product repairs every installed program when it is read"
    known = facts.classes(namespace)
    if known is None:
        return f"Windows has no namespace {namespace}"
    properties = known.get(query.class_name.casefold())
    if properties is None:
        return f"Windows has no class {query.class_name} in {namespace}"
    lacking = [name for name in (*query.properties, *query.conditions) if name.casefold() not in properties]
    return f"{query.class_name} has no property {', '.join(lacking)}" if lacking else ""


def query_marks(root: Node) -> Marks:
    """Every Get-CimInstance, and every property that is read of a variable that holds its result."""
    held: dict[str, _Result] = {}
    for node in walk(root):
        if node.type == "command" and _is(node, "Get-CimInstance"):
            yield from _get(node)
        elif node.type == "assignment_expression":
            _hold(node, held)
        elif node.type == "foreach_statement":
            _loop(node, held)
        elif node.type == "member_access":
            yield from _access(node, held)
        elif node.type == "pipeline_chain":
            yield from _selected(node, held)


def _is(node: Node, name: str) -> bool:
    place = name_of(node)
    return place is not None and text(place).casefold() == name.casefold()


def _words(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    return tuple(word for part in walk(node) if part.child_count == 0 and (word := literal(part)) and part.is_named)


_PLACE = re.compile(r"\$(?:\{[A-Za-z_]\w*\}|[A-Za-z_]\w*)")


def _class_name(node: Node, namespace: str) -> str | None:
    """The class that is named; None for one that cannot be told.

    Counters of SQL Server have the instance in their class's name. Such a name is a text with variables in it, and
    stands for the first class that is known and fits; others of its kind have the same properties.
    """
    name = literal(node)
    while name is None and node.type in ("unary_expression", "string_literal") and node.child_count == 1:
        node = node.children[0]
    if name is not None or node.type != "expandable_string_literal" or "$(" in text(node):
        return name
    pattern = _PLACE.sub("*", text(node)[1:-1]).casefold()
    fitting = sorted(known for known in facts.classes(namespace) or () if fnmatchcase(known, pattern))
    return fitting[0] if fitting and pattern.startswith("win32_perfrawdata_") else None


def _query(node: Node) -> tuple[Query | str, str]:
    """What a Get-CimInstance asks for, or why that cannot be told; and the namespace."""
    given = named(node)
    namespace = (literal(given["namespace"]) if "namespace" in given else "root/cimv2") or "?"
    if "query" in given:
        wql = literal(given["query"])
        return (parse_query(wql) if wql is not None else "a query is one constant text"), namespace
    name = _class_name(given["classname"], namespace) if "classname" in given else None
    if name is None:
        return "name the class by a constant", namespace
    properties = _words(given.get("property"))
    if not properties:
        return f"name the properties of {name} that are needed (-Property or -Query)", namespace
    condition = literal(given["filter"]) if "filter" in given else ""
    if condition is None:
        return "a filter is one constant text", namespace
    wql = f"SELECT {', '.join(properties)} FROM {name}"  # noqa: S608 - parsed here and sent nowhere
    return parse_query(f"{wql} WHERE {condition}" if condition else wql), namespace


def _get(node: Node) -> Marks:
    query, namespace = _query(node)
    problem = query if isinstance(query, str) else _class_problem(query, namespace)
    if problem:
        yield Mark(node, "cim", problem)


def _hold(node: Node, held: dict[str, _Result]) -> None:
    variables = [text(child) for child in walk(node.children[0]) if child.type == "variable"]
    commands = [child for child in walk(node.children[-1]) if child.type == "command"]
    if len(variables) != 1 or not commands:
        return
    if len(commands) == 1 and _is(commands[0], "Get-CimInstance"):
        query, _ = _query(commands[0])
        if isinstance(query, Query):
            properties = frozenset(map(str.casefold, query.properties))
            held[variables[0].casefold()] = _Result(query.class_name, properties)


def _loop(node: Node, held: dict[str, _Result]) -> None:
    variable = next((text(child) for child in node.children if child.type == "variable"), "")
    source = next((text(child) for child in node.children if child.type == "pipeline"), "").strip()
    if source.casefold() in held:
        held[variable.casefold()] = held[source.casefold()]
    else:
        held.pop(variable.casefold(), None)


def _access(node: Node, held: dict[str, _Result]) -> Marks:
    result = held.get(text(node.children[0]).casefold())
    place = next((child for child in node.children if child.type == "member_name"), None)
    if result is None or place is None:
        return
    name = text(place).casefold()
    if name not in result.properties and name not in _ALWAYS:
        yield Mark(place, "cim", f"the query of {result.class_name} does not ask for {text(place)}")


def _selected(node: Node, held: dict[str, _Result]) -> Marks:
    commands = [child for child in node.children if child.type == "command"]
    result = held.get(text(node.children[0]).strip().casefold())
    if result is None or not commands or not _is(commands[0], "Select-Object"):
        return
    chosen = named(commands[0]).get("property")
    for part in walk(chosen) if chosen is not None else ():
        name = literal(part) if part.child_count == 0 and part.is_named else None
        if name == "*":
            yield Mark(part, "cim", "name the properties that are needed")
        elif name and part.type == "generic_token" and name.casefold() not in result.properties:
            yield Mark(part, "cim", f"the query of {result.class_name} does not ask for {name}")
