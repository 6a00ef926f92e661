"""The session configurations that a machine has, instead of Microsoft.PowerShell and the command shell alone.

Options: `configurations` (name -> language: full, or none for a JEA endpoint that takes commands only), `winrs` (is
there a command shell), `longest_idle_s` (a shell that asks for a longer idle timeout is refused).
What Constrained Language does to a collector is shown by the kind `record`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.soap import RSP, Call, WsmanFault

IDLE_OUT_OF_BOUNDS = 2150859250


class Hosts(Fault):
    def __init__(self, languages: Mapping[str, str], longest_idle_s: float) -> None:
        self._languages = dict(languages)
        self._longest = longest_idle_s

    def hosted(self, name: str) -> str:
        return self._languages.get(name, "")

    def called(self, call: Call, machine: Machine) -> None:
        if not self._longest or not call.action.endswith("/Create") or call.body is None:
            return
        idle = (call.body.findtext(f"{{{RSP}}}IdleTimeOut") or "").removeprefix("PT").removesuffix("S")
        if not idle or float(idle) > self._longest:
            raise WsmanFault(IDLE_OUT_OF_BOUNDS, "w:InvalidParameter", "The idle timeout is out of bounds.")


def build(configurations: Mapping[str, str] | None = None, winrs: bool = True, longest_idle_s: float = 0.0) -> Hosts:
    given = {"Microsoft.PowerShell": "full"} if configurations is None else dict(configurations)
    languages = {str(name).lower(): str(language) for name, language in given.items()}
    if set(languages.values()) - {"full", "none"}:
        raise ValueError("the language of a session configuration is full or none")
    return Hosts(languages | ({"winrs": "full"} if winrs else {}), float(longest_idle_s))
