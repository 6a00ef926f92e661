"""The configuration of the brokers: what `rmm hub config` writes, a folder for each server with all that it needs.

For nats-server 2.11 or later. Clients show a certificate and a login; routes between brokers have an authority of
their own, so that what a site holds is worth nothing there. Monitoring is on loopback alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from rmm.durable import replace_file
from rmm.errors import ConfigError
from rmm.hub.authority import Authority
from rmm.hub.certificates import server_pair

CONFIG = "nats-server.conf"
MOST_PAYLOAD = 1 << 20  # bytes: envelopes are smaller, and so is every answer


class Ports(msgspec.Struct, frozen=True):
    """Where a server listens."""

    client: int = 4222
    websocket: int = 8443
    cluster: int = 6222
    monitor: int = 8222

    def after(self, count: int) -> Ports:
        """Those of another server on the same machine."""
        return Ports(*(getattr(self, name) + count for name in self.__struct_fields__))


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One broker. `host`: the name or address by which sites and the other brokers reach it."""

    host: str
    name: str
    ports: Ports = Ports()
    listen: str = "0.0.0.0"  # noqa: S104 - all interfaces: sites are elsewhere


class Room(msgspec.Struct, frozen=True):
    """What a server may use."""

    store_gb: float = 20.0
    connections: int = 1000


def servers_of(hosts: Sequence[str], count: int, ports: Ports, listen: str) -> list[Server]:
    """The servers; several on one host get ports one after another. Raises ConfigError."""
    if len(hosts) not in (1, count):
        raise ConfigError(f"{count} servers on {len(hosts)} hosts", hint="Name one host, or as many as servers.")
    if len(set(hosts)) not in (1, len(hosts)):
        raise ConfigError("a host is named twice", hint="Name one host, or as many as servers, all different.")
    alone = len(set(hosts)) == 1
    return [
        Server(
            host=hosts[0] if alone else hosts[n],
            name=f"rmm-{n + 1}",
            ports=ports.after(n) if alone else ports,
            listen=listen,
        )
        for n in range(count)
    ]


def files_of(count: int) -> dict[str, str]:
    """File name -> what it is, of each of so many servers."""
    routes = {
        "routes-ca.crt": "who may be a server of this cluster",
        "routes.crt": "what it shows the other servers",
        "routes.key": "its private key",
    }
    return {
        CONFIG: "the configuration, with the accounts as signed claims",
        "ca.crt": "who signs the certificates of the hub, of sites and of servers",
        "server.crt": "what it shows the hub and sites",
        "server.key": "its private key",
        **(routes if count > 1 else {}),
    }


def broker_texts(
    authority: Authority, servers: Sequence[Server], now: datetime, *, place: str, room: Room | None = None
) -> list[str]:
    """The configuration of each server, whose files lie in the folder of its name below `place`. There is no key in it.

    Other arguments as of `write_brokers`.
    """
    return [_text(authority, one, servers, f"{place.rstrip('/')}/{one.name}", now, room or Room()) for one in servers]


def write_brokers(
    authority: Authority,
    servers: Sequence[Server],
    out: Path,
    now: datetime,
    *,
    place: str = "",
    room: Room | None = None,
) -> list[Path]:
    """Write the folders; returns the configuration files.

    Args:
        authority: the hub's.
        servers: one, or three for a cluster.
        out: where a folder per server is made. One that is there gets new certificates and claims.
        now: when they are issued.
        place: where that folder will lie at the broker, without the server's name; empty: where it is now.
        room: what a server may use.
    """
    made: list[Path] = []
    texts = broker_texts(authority, servers, now, place=place or out.absolute().as_posix(), room=room)
    for server, text in zip(servers, texts, strict=True):
        folder = out.absolute() / server.name
        pair = server_pair(authority.clients, _names(server.host), now)
        files = {
            "ca.crt": authority.clients.certificate,
            "server.crt": pair.certificate,
            "server.key": pair.key,
        }
        if len(servers) > 1:
            pair = server_pair(authority.routes, _names(server.host), now)
            files |= {
                "routes-ca.crt": authority.routes.certificate,
                "routes.crt": pair.certificate,
                "routes.key": pair.key,
            }
        files[CONFIG] = text
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        for name, text in files.items():
            replace_file(folder / name, text.encode(), private=True)
        made.append(folder / CONFIG)
    return made


def _names(host: str) -> list[str]:
    return [host, "localhost", "127.0.0.1"] if host not in ("localhost", "127.0.0.1") else ["localhost", "127.0.0.1"]


def _text(
    authority: Authority, server: Server, servers: Sequence[Server], there: str, now: datetime, room: Room
) -> str:
    ports = server.ports
    tls = _tls(there, "server", "ca.crt")
    lines = [
        "# Written by `rmm hub config`; write it anew rather than change it. For nats-server 2.11 or later.",
        f"server_name: {json.dumps(server.name)}",
        f"listen: {json.dumps(f'{_bracketed(server.listen)}:{ports.client}')}",
        f'http: "127.0.0.1:{ports.monitor}"  # monitoring; nobody is asked for a password there',
        f"max_payload: {MOST_PAYLOAD}",
        f"max_connections: {room.connections}",
        "max_pending: 16777216  # bytes that wait for one client, before it is thrown out",
        "max_subscriptions: 10000",
        'write_deadline: "10s"',
        'ping_interval: "20s"',
        "",
        "# Both sides show a certificate.",
        f"tls {tls}",
        "",
        "# For sites that only reach the web.",
        "websocket {",
        f"  listen: {json.dumps(f'{_bracketed(server.listen)}:{ports.websocket}')}",
        f"  tls {tls}",
        "}",
        "",
        "jetstream {",
        f"  store_dir: {json.dumps(f'{there}/store')}",
        "  sync_interval: always  # what was taken is on the disk",
        f"  max_file_store: {int(room.store_gb * 1e9)}",
        "  max_memory_store: 67108864",
        "}",
        "",
        "# Who may connect is in claims: new sites and revocations come over the bus, and are kept in this folder.",
        f"operator: {json.dumps(authority.operator_claims())}",
        f"system_account: {authority.system_account}",
        "resolver {",
        "  type: full",
        f"  dir: {json.dumps(f'{there}/accounts')}",
        "  allow_delete: false",
        '  interval: "5s"  # after which a server that was away asks the others what it missed',
        "}",
        "resolver_preload: {",
        f"  {authority.system_account}: {json.dumps(authority.system_claims())}",
        f"  {authority.account}: {json.dumps(authority.account_claims(now))}",
        "}",
    ]
    if len(servers) > 1:
        lines += _cluster(server, servers, there)
    return "\n".join([*lines, ""])


def _cluster(server: Server, servers: Sequence[Server], there: str) -> list[str]:
    routes = [f"tls://{_bracketed(one.host)}:{one.ports.cluster}" for one in servers if one.name != server.name]
    return [
        "",
        "cluster {",
        "  name: rmm",
        f"  listen: {json.dumps(f'{_bracketed(server.listen)}:{server.ports.cluster}')}",
        f"  routes: {json.dumps(routes)}",
        f"  tls {_tls(there, 'routes', 'routes-ca.crt')}",
        "}",
    ]


def _tls(there: str, name: str, authority: str) -> str:
    parts = {
        "cert_file": json.dumps(f"{there}/{name}.crt"),
        "key_file": json.dumps(f"{there}/{name}.key"),
        "ca_file": json.dumps(f"{there}/{authority}"),
        "verify": "true",
        "min_version": '"1.3"',
        "timeout": "5",
    }
    return "{ " + ", ".join(f"{key}: {value}" for key, value in parts.items()) + " }"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
