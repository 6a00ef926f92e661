"""Commands: only those that Windows PowerShell 5.1 has, by their full names, and only such as read."""

from __future__ import annotations

from rmm.catalog.check import facts
from rmm.catalog.check.finding import Mark, Marks, Node, literal, named, text, walk
from rmm.catalog.functions import functions, taken

COMMON = frozenset(
    {"verbose", "debug", "erroraction", "warningaction", "informationaction", "errorvariable", "warningvariable",
     "informationvariable", "outvariable", "outbuffer", "pipelinevariable"}
)  # fmt: skip
# Parameters that the registry and file system providers add to a command.
_DYNAMIC = {
    "get-childitem": frozenset({"attributes", "directory", "file", "hidden", "readonly", "system"}),
    "get-content": frozenset({"encoding", "raw", "stream", "wait", "delimiter"}),
    "get-item": frozenset({"stream"}),
}
_READING = frozenset(
    {"get", "select", "where", "foreach", "sort", "group", "measure", "convertto", "convertfrom", "test", "join",
     "split", "resolve", "compare", "find", "search"}
)  # fmt: skip
_ALSO = frozenset({"out-null", "out-string", "write-output", "new-object", "new-timespan", "set-strictmode"})
# CIM methods that only tell something: namespace/class:method.
_TELLING = frozenset(
    {
        "root/ccm/clientsdk/ccm_clientutilities:determineifrebootpending",
        "root/microsoft/windows/dhcp/ps_dhcpserverv4scope:get",
        "root/microsoft/windows/dhcp/ps_dhcpserverv4scopestatistics:get",
    }
)
# The same of instances that a query gave (-InputObject). GetKeyProtectorNumericalPassword tells too: a secret.
_TELLING_OF_INSTANCE = frozenset({"getconversionstatus", "getkeyprotectors", "getkeyprotectortype", "getstate"})
BY_OPERATOR = ("dynamic", "the operators & and . run what is not in the text")
INTO_FILE = ("writes", "nothing is written to the endpoint")
_REFUSED = {
    "invoke-expression": ("dynamic", "Invoke-Expression runs text as code"),
    "get-wmiobject": ("wmi", "use Get-CimInstance: Get-WmiObject is gone from newer PowerShell and needs DCOM"),
    "get-credential": ("acts", "there is nobody to ask"),
}


def command_marks(root: Node) -> Marks:
    """Every command of the script, every function that it defines, and every redirection into a file."""
    own = {text(n).casefold() for n in walk(root) if n.type == "function_name"}
    for node in walk(root):
        if node.type == "function_name" and (reason := function_problem(text(node))):
            yield Mark(node.parent, *reason)
        elif node.type == "command":
            yield from _command(node, own)
        elif node.type == "redirected_file_name" and text(node).strip().casefold() != "$null":
            yield Mark(node, *INTO_FILE)


def name_of(command: Node) -> Node | None:
    """The node of a command's constant name; None for what is invoked by operator."""
    return next((child for child in command.children if child.type == "command_name"), None)


def _command(node: Node, own: set[str]) -> Marks:
    if any(child.type == "command_invocation_operator" for child in node.children):
        yield Mark(node, *BY_OPERATOR)
        return
    place = name_of(node)
    if place is None:
        return
    name = text(place)
    if name.casefold() in own or name[:1].isdigit():  # the parser takes a range such as 1..3 for a command
        return
    if reason := command_problem(name):
        yield Mark(place, *reason)
        return
    if name.casefold() == "invoke-cimmethod":
        yield from _method(node)
    for child in walk(node):
        if child.type == "command_parameter" and _command_of(child) == node:
            given = text(child).lstrip("-").rstrip(":")
            if reason := parameter_problem(name, given):
                yield Mark(child, *reason)


def _method(node: Node) -> Marks:
    given = {"namespace": "root/cimv2", **{key: literal(value) or "?" for key, value in named(node).items()}}
    if "inputobject" in given and given.get("methodname", "?").casefold() in _TELLING_OF_INSTANCE:
        return
    space = given["namespace"].replace("\\", "/")
    method = f"{space}/{given.get('classname')}:{given.get('methodname')}"
    if method.casefold() not in _TELLING:
        yield Mark(node, "acts", f"{method} is not one of the CIM methods that only tell something")


def function_problem(name: str) -> tuple[str, str] | None:
    """(rule, message) of a function that no script may define; a scope such as `global:` may stand before the name."""
    plain = name.rpartition(":")[2].casefold()
    return (
        ("shared", f"every bundle may have a function {name} already: take another name") if plain in taken() else None
    )


def command_problem(name: str) -> tuple[str, str] | None:
    """(rule, message) of a command that may not stand in a script."""
    plain = name.casefold()
    if plain in functions():
        return None
    if plain in _REFUSED:
        return _REFUSED[plain]
    if plain in facts.aliases():
        return "alias", f"{name} is an alias: write the command's name"
    if plain not in facts.commands():
        if "-" in plain and "." not in plain and "\\" not in plain:
            return "command-5.1", f"Windows PowerShell 5.1 has no command {name}"
        return "native", f"{name} is not a command of PowerShell; native programs use up the process quota"
    verb = plain.partition("-")[0]
    if verb not in _READING and plain not in _ALSO and plain != "invoke-cimmethod":  # whose method is looked at
        return "acts", f"{name} does more than read"
    return None


def parameter_problem(command: str, given: str) -> tuple[str, str] | None:
    """(rule, message) of a parameter that a command of 5.1 lacks, or that is not written out."""
    plain = command.casefold()
    if plain in functions():
        known = frozenset(map(str.casefold, functions()[plain].parameters))
    else:
        known = facts.commands()[plain] | COMMON | _DYNAMIC.get(plain, frozenset())
    if given.casefold() in known:
        return None
    longer = sorted(full for full in known if full.startswith(given.casefold()))
    if longer:
        return "abbreviation", f"-{given} is short for -{longer[0]}: write it out"
    whose = command if plain in functions() else f"{command} of Windows PowerShell 5.1"
    return "parameter-5.1", f"{whose} has no parameter -{given}"


def _command_of(node: Node) -> Node | None:
    while node is not None and node.type != "command":
        node = node.parent
    return node
