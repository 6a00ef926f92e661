"""The rungs behind the logon: authentication, shell, language mode, quota. One connection serves all four."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from rmm.core.identity import mismatch
from rmm.errors import AccessError, AuthHeld, RmmError, TransportError
from rmm.model.endpoint import Target
from rmm.ports import Look, Rung, Script, Transport
from rmm.transports.ladders.quota import facts_of, judged
from rmm.transports.ladders.spoken import CLOCK_S, KERBEROS_S, challenge
from rmm.transports.winrm import envelope, psrp
from rmm.transports.winrm.orphans import shells
from rmm.transports.winrm.session import WinrmSession
from rmm.transports.winrm.shell import Shell

CONFIG = "http://schemas.microsoft.com/wbem/wsman/1/config"
LANGUAGE = Script('"$($ExecutionContext.SessionState.LanguageMode)"')
_PROTOCOL = re.compile(rb'<Version N="protocolversion">([0-9.]{1,20})<')
_ENGINE = re.compile(rb'<S N="Key">PSVersion</S><Version N="Value">([0-9.]{1,40})<')
_NO_SCRIPTS = ("ScriptsNotAllowed", "CommandNotFoundException", "LanguageModeNotSupported")


class Inside:
    """The rungs over a session of our own client, which `transport` gives; held until `aclose`."""

    def __init__(self, target: Target, transport: Transport) -> None:
        self._target = msgspec.structs.replace(target, session="new")
        self._transport = transport
        self._stack = contextlib.AsyncExitStack()
        self._opened: WinrmSession | None = None
        self._shell: Shell | None = None
        has_shell = target.transport != "wql"
        self.rungs: Sequence[Rung] = (
            Rung("authentication", self._logon, ("http",)),
            Rung("shell", self._open if has_shell else _no_shell, ("authentication",)),
            Rung("language", self._language if has_shell else _no_shell, ("shell",)),
            Rung("quota", self._quota, ("authentication",)),
        )

    @property
    def _session(self) -> WinrmSession:
        assert self._opened is not None  # every rung but the first needs the logon
        return self._opened

    async def _logon(self, deadline: float) -> Look:
        target = self._target
        said: dict[str, Any] = {}
        if target.auth in ("ntlm", "negotiate"):
            with contextlib.suppress(TransportError):  # the logon itself meets the same trouble, and says it better
                said = await challenge(target, deadline)
        whom = _introduced(said)
        try:
            opening = self._transport.session(target, deadline=deadline)
            self._opened = cast("WinrmSession", await self._stack.enter_async_context(opening))
        except AuthHeld as error:
            return Look(f"no logon was tried: {error}{whom}", "failed", error.hint, error.code, said)
        except RmmError as error:
            return Look(f"{error}{whom}", "failed", error.hint, error.code, said)
        facts = said | {"username": target.credential.username, "scheme": target.auth, **self._session.telemetry}
        detail = f"{target.credential.username} by {target.auth}{whom}"
        reason = mismatch(target.name, {}, {"name": self._session.peer.get("netbios", "")})
        if reason:
            fix = "DNS or DHCP gave this address to another machine, or it was renamed: a poll would store nothing."
            return Look(f"{detail}; {reason}", "warning", fix, "identity.mismatch", facts)
        skew = said.get("clock_s")
        if skew is not None and abs(skew) > CLOCK_S:
            fix = "Set the clock that is wrong: this one here, or the endpoint's (w32tm /resync). " + (
                f"Kerberos refuses more than {KERBEROS_S / 60:.0f} minutes." if abs(skew) > KERBEROS_S else ""
            )
            return Look(detail, "warning", fix.strip(), "clock.skew", facts)
        return Look(detail, facts=facts)

    async def _open(self, deadline: float) -> Look:
        self._shell = await self._session.shell(deadline)
        wanted = self._target.configuration
        configuration = self._session.peer.get("session", wanted)
        facts: dict[str, Any] = {"configuration": configuration}
        for message in self._shell.opening:
            if message.kind == psrp.SESSION_CAPABILITY and (found := _PROTOCOL.search(message.data)):
                facts["protocol"] = found[1].decode()
            if message.kind == psrp.APPLICATION_PRIVATE_DATA and (found := _ENGINE.search(message.data)):
                facts["powershell"] = found[1].decode()
        engine = f"PowerShell {facts['powershell']}" if "powershell" in facts else "a version that it does not tell"
        protocol = f", PSRP {facts['protocol']}" if "protocol" in facts else ""
        detail = f"{configuration}, {engine}{protocol}"
        if configuration.casefold() == wanted.casefold():
            return Look(detail, facts=facts)
        fix = f"{wanted} is not there, so `fallback` applies. Make it on the endpoint, or change `configuration`."
        return Look(detail, "warning", fix, "unsupported.configuration", facts)

    async def _language(self, deadline: float) -> Look:
        assert self._shell is not None
        result = await self._shell.run(LANGUAGE, deadline, 64 << 10)
        mode = str(result.output[0])[:40] if result.output else ""
        if result.state == "completed" and mode:
            return _judged_mode(mode, commands=self._target.source == "jea")
        record = result.errors[-1] if result.errors else None
        if record is not None and record.error_id.startswith(_NO_SCRIPTS):
            return _judged_mode("NoLanguage", commands=self._target.source == "jea")
        said = f"{record.error_id}: {record.message}"[:300] if record else f"the script {result.state}"
        fix = "Look for what blocks scripts there: the session configuration, AppLocker or WDAC, antivirus (AMSI)."
        return Look(said, "failed", fix, "script.failed")

    async def _quota(self, deadline: float) -> Look:
        others = await self._other_shells(deadline)
        try:
            answer = await self._session.wsman.ask(envelope.GET, CONFIG, deadline=deadline)
        except AccessError:
            fix = "Nothing to do for polling: reading winrm/config takes an administrator, and rmm only looks."
            told = "" if others is None else f"; {others} other shells of this account are open"
            return Look(f"this account may not read winrm/config{told}", "warning", fix, "quota.unknown")
        return judged(facts_of(answer.body), others)

    async def _other_shells(self, deadline: float) -> int | None:
        """How many shells of this account the endpoint lists, the ladder's own not counted; None where it does not."""
        try:
            found = [item for item in await shells(self._session.wsman, deadline) if item.get("ShellId")]
        except TransportError:
            return None
        own = self._shell.id.upper() if self._shell is not None else ""
        return sum(str(item["ShellId"]).upper() != own for item in found)

    async def aclose(self) -> None:
        """Delete the shell and close the connection."""
        self._shell = self._opened = None
        await self._stack.aclose()


async def _no_shell(deadline: float) -> Look:
    return Look("this endpoint is read by WQL alone: no shell is opened", "skipped")


def _introduced(said: dict[str, Any]) -> str:
    """Who answered, and how late it is there, as far as the challenge told."""
    if not said:
        return ""
    names = [text for text in (said.get("netbios"), said.get("dns"), said.get("domain")) if text]
    clock = f", clock {said['clock_s']:+.1f} s" if "clock_s" in said else ""
    return f"; it calls itself {' / '.join(names) or 'nothing'}{clock}"


def _judged_mode(mode: str, *, commands: bool) -> Look:
    """`commands`: whether this endpoint is polled by commands alone, as a JEA profile wants it."""
    facts = {"language": mode}
    if mode == "FullLanguage":
        return Look(mode, facts=facts)
    if commands:
        return Look(f"{mode}; it is polled by commands (source: jea)", facts=facts)
    if mode == "ConstrainedLanguage":
        fix = "AppLocker, WDAC or the session configuration asks for it. The shipped collectors keep to what it allows."
        return Look(mode, "warning", fix, "language.constrained", facts)
    fix = "Scripts are not allowed in this session configuration: poll it by commands (source: jea) or by WQL."
    return Look(f"{mode}: no scripts", "warning", fix, "language.none", facts)
