"""Takes out of a recording what says whose it is: consistently, and so that it can still be replayed.

The account is always replaced. On request, names, addresses, SIDs, serial numbers and UUIDs are too: what stands under
a telling key (CSName, SerialNumber, IPAddress ...) is learnt first and then replaced wherever it occurs; SIDs, MAC
addresses and volume ids are known by their form. A value always gets the same stand-in within one recording. Scripts
are this product's own text and stay as they are, and so do JSON's keys and XML's tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from xml.sax.saxutils import escape, unescape

import msgspec

from rmm.model.recording import Exchange, Message, Recording

LEAST_SECRET = 6
SCRIPTS = {0x00021006, 0x00010004}  # CREATE_PIPELINE, INIT_RUNSPACEPOOL: what we sent
HOSTS = {
    "csname", "pscomputername", "computername", "systemname", "__server", "machinename", "dnshostname", "host",
    "hostname", "machine",
}  # fmt: skip
DOMAINS = {"domain", "dnsdomain", "domainname", "userdomain", "dnsdomainsuffixsearchorder", "joindomain"}
SERIALS = {"serialnumber", "identifyingnumber", "smbiosassettag", "assettag"}
ADDRESSES = {
    "ipaddress", "defaultipgateway", "dnsserversearchorder", "dhcpserver", "clientip", "address", "winsprimaryserver",
}  # fmt: skip
USERS = {"username", "registereduser", "registeredowner", "owner", "startname"}
_NOBODY = {
    "", "0", "workgroup", "localhost", "none", "default string", "to be filled by o.e.m.", "system serial number",
}  # fmt: skip

_TAG_AND_TEXT = re.compile(r"(</?(?:[\w.-]+:)?([\w.-]+)(\s[^<>]*)?>)([^<]+)")
_N = re.compile(r'\sN="([^"]*)"')
_MACHINE = re.compile(r'(\sMachine=")([^"]*)(")')
_JSON_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?')
_SID = re.compile(r"S-1-5-21-\d{1,10}-\d{1,10}-\d{1,10}")
_MAC = re.compile(r"(?<![0-9A-Fa-f:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])")
_VOLUME = re.compile(r"(?<=Volume\{)[0-9A-Fa-f-]{36}(?=\})")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
_IP = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}\Z|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+\Z")

Visit = Callable[[str, str], str]  # (key, text) -> text


def visit(text: str, change: Visit) -> str:
    """`text` (XML, CLIXML, or JSON inside them) with every value changed; the key is a tag, an `N`, or a JSON key."""

    def node(found: re.Match[str]) -> str:
        named = _N.search(found[3] or "")
        content = found[4]
        if content.lstrip()[:1] in ("{", "["):
            return found[1] + _visit_json(content, change)
        return found[1] + change((named[1] if named else found[2]).lower(), content)

    if text.lstrip()[:1] in ("{", "["):
        return _visit_json(text, change)
    if "<" not in text:
        return change("", text)
    text = _MACHINE.sub(lambda found: found[1] + change("machine", found[2]) + found[3], text)
    return _TAG_AND_TEXT.sub(node, text)


def _visit_json(text: str, change: Visit) -> str:
    key = ""

    def string(found: re.Match[str]) -> str:
        nonlocal key
        if found[2]:
            key = found[1].lower()
            return found[0]
        return f'"{found[1] if key == "collector" else change(key, found[1])}"'

    return _JSON_STRING.sub(string, text)


class Scrubber:
    r"""Learn from everything first, then replace.

    Args:
        account: user name of the credential, as DOMAIN\user, user@realm or user.
        secret: its secret, which no answer should hold; what holds it all the same is replaced.
        names: whether names, addresses, SIDs, serial numbers and UUIDs are replaced too.
    """

    def __init__(self, account: str, secret: str, *, names: bool) -> None:
        self._names = names
        self._known: dict[str, str] = {}  # value, lower case -> stand-in
        self._counts: dict[str, int] = {}
        self._forms: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lookup: dict[str, str] = {}
        domain, _, user = account.rpartition("\\")
        user, _, realm = user.partition("@")
        for place in filter(None, (domain, realm)):
            # The domain alone may be a word of any text; without `names` it goes together with the account only.
            self._learn("DOMAIN", place) if names else None
            self._known[f"{place}\\{user}".lower()] = "DOMAIN1\\USER1"
            self._known[f"{user}@{place}".lower()] = "USER1@domain1"
        self._counts["USER"] = 1
        self._known[user.lower()] = "USER1"
        if len(secret) >= LEAST_SECRET:
            self._known[secret.lower()] = "SECRET"

    def learn_machine(self, names: Iterable[str], domain: str) -> None:
        """What is known of the endpoint before anything is read: its names or addresses, and its domain."""
        if not self._names:
            return
        for name in names:
            host, _, rest = name.partition(".")
            if _IP.match(name):
                self._learn("ADDRESS", name)
                continue
            self._learn("HOST", host)
            self._learn("DNS", rest)
        self._learn("DOMAIN", domain)

    def learn(self, text: str) -> None:
        """Look for values under telling keys."""
        if self._names:
            visit(text, self._look)

    def _look(self, key: str, text: str) -> str:
        value = _plain(text)
        if key in HOSTS:
            host, _, rest = value.partition(".")
            self._learn("ADDRESS" if _IP.match(value) else "HOST", value if _IP.match(value) else host)
            self._learn("DNS", "" if _IP.match(value) else rest)
        elif key in DOMAINS:
            self._learn("DNS" if "." in value else "DOMAIN", value)
        elif key in SERIALS:
            self._learn("SERIAL", value)
        elif key == "uuid" and _UUID.match(value):
            self._learn("UUID", value)
        elif key in ADDRESSES and _IP.match(value):
            self._learn("ADDRESS", value)
        elif key in USERS:
            domain, slash, user = value.rpartition("\\")
            if slash and domain.lower() in self._known:  # of that domain, not NT AUTHORITY
                self._learn("USER", user)
        return text

    def _learn(self, kind: str, value: str) -> None:
        value = value.strip()
        if value.lower() in _NOBODY or value.lower() in self._known:
            return
        if _IP.match(value) and (value.startswith(("127.", "0.", "255.")) or value in ("::1", "::")):
            return
        self._counts[kind] = number = self._counts.get(kind, 0) + 1
        self._known[value.lower()] = _stand_in(kind, number, value)
        self._pattern = None

    def text(self, text: str) -> str:
        """`text` with stand-ins."""
        return visit(text, self._change)

    def word(self, text: str) -> str:
        """One value with stand-ins."""
        return self._change("", text)

    def _change(self, key: str, text: str) -> str:
        if self._names:
            text = _SID.sub(lambda found: self._form("S-1-5-21-0-0-{}", found[0]), text)
            text = _MAC.sub(
                lambda found: self._form(f"{found[1].join(['02', *['00'] * 4])}{found[1]}{{:02X}}", found[0]), text
            )
            text = _VOLUME.sub(lambda found: self._form("00000000-0000-4000-9000-{:012x}", found[0]), text)
        return self._compiled().sub(self._stand_in_of, text)

    def _form(self, form: str, value: str) -> str:
        known = self._forms.get(value.lower())
        if known is None:
            number = sum(other.startswith(form[:4]) for other in self._forms.values()) + 1
            known = self._forms[value.lower()] = form.format(number)
        return known

    def _compiled(self) -> re.Pattern[str]:
        """Longest first; between letters and digits nothing is a name."""
        if self._pattern is None:
            spelled = [pair for value, stand_in in self._known.items() for pair in _spellings(value, stand_in)]
            self._lookup = {form.lower(): written for form, written in spelled}
            words = "|".join(re.escape(form) for form in sorted(self._lookup, key=len, reverse=True))
            self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE)
        return self._pattern

    def _stand_in_of(self, found: re.Match[str]) -> str:
        return self._lookup.get(found[0].lower(), "REPLACED")


def _spellings(value: str, stand_in: str) -> list[tuple[str, str]]:
    """A value as text, XML, JSON, and JSON in XML write it, each with its stand-in in the same manner."""
    quoted = [json.dumps(value, ensure_ascii=plain)[1:-1] for plain in (True, False)]
    written = json.dumps(stand_in)[1:-1]
    return [
        *((form, written) for form in {*quoted, *map(escape, quoted)}),
        *((form, stand_in) for form in {value, escape(value)}),  # last: they win where both are spelled alike
    ]


def _plain(text: str) -> str:
    """A value without the escapes of XML and JSON, as far as names have any."""
    return unescape(text).replace("\\\\", "\\")


def _stand_in(kind: str, number: int, value: str) -> str:
    if kind == "UUID":
        return f"00000000-0000-4000-8000-{number:012x}"
    if kind == "DNS":
        return f"domain{number}.example"
    if kind == "ADDRESS" and ":" in value:
        return f"2001:db8::{number:x}"  # for documentation: RFC 3849
    if kind == "ADDRESS":
        return f"198.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}"  # for benchmarks: RFC 2544
    return f"{kind}{number}"


def scrubbed(recording: Recording, scrubber: Scrubber) -> Recording:
    """The recording with stand-ins. Scripts that we sent are left alone; all else that was said is not."""
    for exchange in recording.exchanges:
        scrubber.learn(exchange.request)
        scrubber.learn(exchange.answer)
        for message in exchange.received:
            scrubber.learn(message.data)
    header = recording.header
    header = msgspec.structs.replace(
        header, name=scrubber.word(header.name), dns=scrubber.word(header.dns), domain=scrubber.word(header.domain)
    )
    return Recording(header, tuple(_exchange(one, scrubber) for one in recording.exchanges))


def _exchange(exchange: Exchange, scrubber: Scrubber) -> Exchange:
    return msgspec.structs.replace(
        exchange,
        request=scrubber.text(exchange.request),
        answer=scrubber.text(exchange.answer),
        sent=tuple(_message(one, scrubber) for one in exchange.sent),
        received=tuple(_message(one, scrubber) for one in exchange.received),
        headers={name: scrubber.word(value) for name, value in exchange.headers.items()},
    )


def _message(message: Message, scrubber: Scrubber) -> Message:
    if message.type in SCRIPTS:
        return message
    return msgspec.structs.replace(message, data=scrubber.text(message.data))
