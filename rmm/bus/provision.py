"""What the hub makes at the broker before anything is said there, after it has checked that the broker keeps its word.

What can be known from where (nats-server 2.11 to 2.15):

==========================  =======================================================================================
any user, on connecting     the version, in INFO. Of sync_interval nothing, nor in any answer of $JS.API.
the system account          $SYS.REQ.SERVER.PING.JSZ, answered by each server: `config.sync_always`, `config.strict`
the monitoring port         GET /jsz of each server: the same
==========================  =======================================================================================

So the hub needs a login of the system account, or the addresses of the monitoring ports. A site sees the version alone,
and depends on nothing else: its log lets go of what the hub's database has, not of what the broker has confirmed.

`strict` is checked as well: whoever publishes chooses where the server's acknowledgement goes, and without it a site
could have that acknowledgement taken for a request to purge the stream of all sites.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.request
from collections.abc import Sequence
from typing import Any

import msgspec
from nats.aio.msg import Msg

from rmm.bus import subjects
from rmm.bus.api import NAME_IN_USE, NO_LEADER, Refused, call
from rmm.bus.jetstream import MAX_MESSAGE, JetStreamBus, Login, open_bus
from rmm.bus.link import Link, Listening
from rmm.errors import BusError

log = logging.getLogger(__name__)

SHARE = 128  # messages of one site that are not acknowledged
LEASE_MAX_S = 120.0  # a lease that was not written for so long is gone, whatever its holder asked for
BUCKET_BYTES, MAX_VALUE = 2 << 20, 4 << 10
ELECTION_S = 20.0  # that a cluster may be without a leader
ANSWERS_S = 2.0  # for all servers of a cluster to say something
MOST_ANSWER = 1 << 20

_NS = 1_000_000_000

_FIX = "Put `jetstream { sync_interval: always, strict: true }` into the broker's configuration (`rmm hub config`)."
_ASK = "Give the hub the login of the broker's system account, or the address of its monitoring port (/jsz)."


class _Config(msgspec.Struct, frozen=True):
    sync_always: bool = False
    strict: bool = False


class _Meta(msgspec.Struct, frozen=True):
    cluster_size: int = 1


class _Jsz(msgspec.Struct, frozen=True):
    config: _Config | None = None
    meta_cluster: _Meta | None = None
    disabled: bool = False
    server_id: str = ""


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Ping(msgspec.Struct, frozen=True):
    server: _Named
    data: _Jsz = _Jsz()


async def prepare(
    bus: JetStreamBus,
    *,
    sites: Sequence[str],
    replicas: int = 1,
    system: Login | None = None,
    monitor: Sequence[str] = (),
    share: int = SHARE,
) -> None:
    """Check the broker, and make or update the stream and the buckets of these sites. Idempotent; for the hub alone.

    Args:
        bus: logged on as the hub.
        sites: all sites of the hub's configuration; call it again when there is one more.
        replicas: 1, or 3 in a cluster.
        system: a login of the system account; this or `monitor` is needed.
        monitor: http://host:port of each server's monitoring port.
        share: messages of one site that may wait; beyond that `publish` raises BusFull.

    Raises BusError: bus.durability with reason and fix, and what making streams raises.
    """
    await check_durability(system=system, monitor=monitor)
    await make_streams(bus.link, sites=sites, replicas=replicas, share=share)


async def check_durability(*, system: Login | None = None, monitor: Sequence[str] = ()) -> None:
    """Raises BusError (bus.durability) unless all servers that answer sync before they confirm, and one answers."""
    if not await check_those_that_answer(system=system, monitor=monitor):
        raise BusError(
            "whether the broker syncs what it confirms is unknown: it did not say", code="bus.durability", hint=_ASK
        )


async def check_those_that_answer(*, system: Login | None = None, monitor: Sequence[str] = ()) -> bool:
    """Whether any server answers. Raises BusError (bus.durability) when one of them is lax."""
    answers: dict[str, _Jsz] = {}
    if system is not None:
        answers |= await _ask_system(system)
    for url in monitor:
        answers |= await _ask_monitor(url)
    for name, one in answers.items():
        check_settings(name, one)
    size = max((one.meta_cluster.cluster_size if one.meta_cluster else 1 for one in answers.values()), default=0)
    if len(answers) < size:
        log.warning("%d of %d servers of the broker did not say whether they sync", size - len(answers), size)
    return bool(answers)


def check_settings(name: str, one: _Jsz) -> None:
    """Raises BusError (bus.durability) for a server whose settings are lax."""
    config = one.config or _Config()
    if one.disabled:
        raise BusError(f"the broker {name} has no JetStream", code="bus.durability", hint=_FIX)
    if not config.sync_always:
        reason = f"the broker {name} confirms what is not on its disk yet: sync_interval is not `always`"
        raise BusError(reason, code="bus.durability", hint=_FIX)
    if not config.strict:
        reason = f"the broker {name} takes requests that are none: jetstream is not `strict`"
        raise BusError(reason, code="bus.durability", hint=_FIX)


async def _ask_system(login: Login) -> dict[str, _Jsz]:
    """All servers of the cluster, by name; waits until no more answers come."""
    found: dict[str, _Jsz] = {}
    more = asyncio.Event()

    def arrived(message: Msg) -> None:
        try:
            ping = msgspec.json.decode(message.data, type=_Ping)
        except msgspec.MsgspecError:
            return
        found[ping.server.name] = ping.data
        more.set()

    async with open_bus(login) as bus:
        client = await bus.link.ready()
        inbox = client.new_inbox()
        async with bus.link.listening(Listening(inbox, arrived)):
            await bus.link.send("$SYS.REQ.SERVER.PING.JSZ", b"{}", reply=inbox)
            try:
                async with asyncio.timeout(ANSWERS_S):
                    while not _complete(found):
                        more.clear()
                        await more.wait()
            except TimeoutError:
                log.debug("%d servers answered", len(found))
    return found


def _complete(found: dict[str, _Jsz]) -> bool:
    sizes = [one.meta_cluster.cluster_size if one.meta_cluster else 1 for one in found.values()]
    return bool(sizes) and len(found) >= max(sizes)


async def _ask_monitor(url: str) -> dict[str, _Jsz]:
    """One server; nothing from one that does not answer."""

    def get() -> bytes:
        # Past HTTP_PROXY: it is a port of our own network.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url.rstrip('/')}/jsz", timeout=ANSWERS_S) as answer:
            data: bytes = answer.read(MOST_ANSWER)
            return data

    if not url.startswith(("http://", "https://")):
        raise BusError("the address of the monitoring port is not http://host:port", code="bus.url", hint=_ASK)
    try:
        one = msgspec.json.decode(await asyncio.to_thread(get), type=_Jsz)
    except (OSError, ValueError) as error:  # MsgspecError is a ValueError
        log.warning("the broker's monitoring port says nothing: %s", error)
        return {}
    return {one.server_id or url: one}


async def make_streams(link: Link, *, sites: Sequence[str], replicas: int = 1, share: int = SHARE) -> None:
    """The stream of envelopes and the buckets of the sites, as they should be. Raises BusError."""
    common = {"storage": "file", "num_replicas": replicas, "retention": "limits", "discard": "new"}
    await _make(
        link,
        {
            **common,
            "name": subjects.STREAM,
            "subjects": [subjects.UP],
            "max_msgs_per_subject": share,
            "discard_new_per_subject": True,  # a site that floods has its own share, and no more
            "max_msg_size": MAX_MESSAGE,
            "max_bytes": (len(sites) + 1) * share * MAX_MESSAGE,  # room for the share of each
            "duplicate_window": _NS,
        },
    )
    for site in sites:
        for bucket in subjects.BUCKETS:
            await _make(
                link,
                {
                    **common,
                    "name": subjects.bucket_stream(bucket, site),
                    "subjects": [subjects.key_subject(bucket, f"{site}.>")],
                    "max_msgs_per_subject": 1,
                    "max_msg_size": MAX_VALUE,
                    "max_bytes": BUCKET_BYTES,
                    "max_age": int(LEASE_MAX_S * _NS) if bucket == subjects.LEASES else 0,
                    "allow_direct": True,
                    "allow_msg_ttl": True,
                    "duplicate_window": _NS,
                },
            )


async def _make(link: Link, config: dict[str, Any]) -> None:
    """Also while a cluster elects who leads it: that takes some seconds after a server was lost."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ELECTION_S
    while True:
        try:
            return await _create(link, config)
        except BusError as error:
            passing = error.code == "bus.timeout" or (isinstance(error, Refused) and error.err_code in NO_LEADER)
            if not passing or loop.time() > until:
                raise
            await asyncio.sleep(0.5)


async def _create(link: Link, config: dict[str, Any]) -> None:
    try:
        await call(link, f"STREAM.CREATE.{config['name']}", config)
    except Refused as error:
        if error.err_code != NAME_IN_USE:
            raise
        await call(link, f"STREAM.UPDATE.{config['name']}", config)
