"""Names to addresses, with a deadline: by the site's own name servers, or by the system in threads of its own.

The event loop's default executor has a handful of threads that everything shares; one dead name server would stop all
of it. So the system's resolver gets a pool of its own, and a site may name servers that are asked without any thread.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from rmm.errors import ConnectError
from rmm.model.endpoint import Target

RESOLVE_S = 5.0
THREADS = 64

_UNKNOWN = "Is the name right, and is the machine still in DNS (decommissioned)? Set IPAddress in the endpoint list."
_FAILED = "The name server did not answer; if this concerns many endpoints, look at the site's name servers."


async def resolve(target: Target, deadline: float) -> str:
    """The address to connect to. Raises ConnectError: dns.unknown (no such name) or dns.failure (no answer)."""
    return (await addresses(target, deadline))[0]


async def addresses(target: Target, deadline: float) -> list[str]:
    """All addresses of the name, at least one, the one to connect to first. Raises as `resolve`."""
    try:
        return [str(ipaddress.ip_address(target.host))]
    except ValueError:
        pass
    limit = min(deadline, asyncio.get_running_loop().time() + RESOLVE_S)
    try:
        async with asyncio.timeout_at(limit):
            return await (_ask(target) if target.dns else _system(target))
    except TimeoutError as error:
        raise _failure(target.host) from error


async def _system(target: Target) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_pool(), _getaddrinfo, target.host, target.port)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise _failure(target.host) from error
        raise _unknown(target.host) from error
    except UnicodeError as error:
        raise _unknown(target.host) from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _getaddrinfo(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="rmm-names")


async def _ask(target: Target) -> list[str]:
    """IPv4 first, then IPv6, of the site's own servers; names are taken as they are, without search domains."""
    import dns.exception
    import dns.resolver

    resolver = _resolver(target.dns)
    for kind in ("A", "AAAA"):
        try:
            answer = await resolver.resolve(target.host, kind, lifetime=RESOLVE_S)
            return [str(record.address) for record in answer]
        except dns.resolver.NoAnswer:
            continue
        except dns.resolver.NXDOMAIN as error:
            raise _unknown(target.host) from error
        except dns.exception.DNSException as error:  # no server answered, or each with SERVFAIL or worse
            raise _failure(target.host) from error
    raise _unknown(target.host)


@lru_cache(maxsize=64)
def _resolver(servers: tuple[str, ...]) -> Any:
    import dns.asyncresolver

    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.search = []
    resolver.nameservers = [_server(text) for text in servers]
    return resolver


def _server(text: str) -> Any:
    """ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    import dns.nameserver

    address, port = text, 53
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = int(rest[1:]) if rest else 53
    elif text.count(":") == 1:
        address, _, number = text.partition(":")
        port = int(number)
    return dns.nameserver.Do53Nameserver(address, port)


def _unknown(host: str) -> ConnectError:
    return ConnectError(f"the name {host} is not in DNS", code="dns.unknown", hint=_UNKNOWN)


def _failure(host: str) -> ConnectError:
    return ConnectError(f"the name {host} could not be looked up", code="dns.failure", retry="R1", hint=_FAILED)
