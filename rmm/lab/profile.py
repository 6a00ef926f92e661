"""Reads the data behind the lab's machines: operating systems, languages, services, software, hardware models.

Everything is typed and immutable, read once per `Catalogue`; adding an operating system is adding one YAML file.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

FOLDER = Path(__file__).resolve().parent / "profiles"
CORE = "Server Core"
_TABLES = frozenset({"services", "software", "hardware", "languages", "roles"})
_ACCOUNTS = {"S": "LocalSystem", "L": "NT AUTHORITY\\LocalService", "N": "NT AUTHORITY\\NetworkService"}


class OsProfile(msgspec.Struct, frozen=True):
    """One operating system, as `profiles/<name>.yaml` says it."""

    name: str
    caption: str
    version: str
    build: int
    ubr: int
    edition: str
    sku: int
    kind: str  # server | client
    installation: str
    release_id: str
    display_version: str
    product_name: str
    perf_frequency: int
    hotfixes: dict[str, str]
    weight: int


class Zone(msgspec.Struct, frozen=True):
    """A time zone; `bias` in minutes east of UTC."""

    key: str
    caption: str
    standard: str
    daylight: str
    bias: int


class Language(msgspec.Struct, frozen=True):
    """What machines of one language call things."""

    locale: str
    language: int
    country: str
    mui: str
    code_set: str
    zones: tuple[Zone, ...]
    labels: dict[str, str]
    disk: str
    adapters: dict[str, str]
    services: dict[str, str]
    name: str = ""
    also: tuple[str, ...] = ()  # other words for it in the names of samples
    architecture: str = "64-bit"


class Model(msgspec.Struct, frozen=True):
    """A hardware model. Each of `cpus` is (name, cores per socket, threads per core, MHz)."""

    maker: str
    model: str
    vm: str
    weight: int
    chassis: int
    bios: str
    bios_date: str
    board: str
    disk: str
    nic: str
    bps: int
    cpus: tuple[tuple[str, int, int, int], ...]
    sockets: tuple[int, ...]
    memory: tuple[int, ...]
    disks: tuple[int, ...]


class Flags(NamedTuple):
    """On which machines a service or program is found."""

    words: frozenset[str]
    limits: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> Flags:
        words = text.split()
        return cls(
            frozenset(word for word in words if "=" not in word), dict(w.split("=", 1) for w in words if "=" in w)
        )

    def admits(self, profile: OsProfile, role: str, language: str, model: Model) -> bool:
        """Whether such a machine can have it (`often` is left to chance)."""
        limits = self.limits
        other_kind = "client" if profile.kind == "server" else "server"
        return (
            other_kind not in self.words
            and int(limits.get("min", 0)) <= profile.build <= int(limits.get("max", 1 << 30))
            and limits.get("role", role) == role
            and not ("desktop" in self.words and profile.installation == CORE)
            and limits.get("language", language) == language
            and limits.get("vm", model.vm) == model.vm
            and limits.get("maker", model.maker) in model.maker
        )


class ServiceSpec(NamedTuple):
    """A Windows service as installed."""

    name: str
    display_name: str
    start_mode: str
    account: str
    running: bool
    flags: Flags


class SoftwareSpec(NamedTuple):
    """An installed program."""

    id: str
    name: str
    version: str
    publisher: str
    architecture: str
    flags: Flags


class Role(msgspec.Struct, frozen=True):
    """What a server is for. `also`: other words by which samples of such a machine are known."""

    prefix: str
    weight: int
    also: tuple[str, ...] = ()


class Catalogue(NamedTuple):
    """All of the folder. `profiles`: the names that stand for what there is, see `rmm.lab.kinds`."""

    systems: dict[str, OsProfile]
    languages: dict[str, Language]
    services: tuple[ServiceSpec, ...]
    may_stop: tuple[str, ...]
    software: tuple[SoftwareSpec, ...]
    servers: tuple[Model, ...]
    clients: tuple[Model, ...]
    roles: dict[str, Role]
    profiles: tuple[str, ...]

    def models(self, kind: str) -> tuple[Model, ...]:
        return self.servers if kind == "server" else self.clients


def load_catalogue(folder: Path = FOLDER) -> Catalogue:
    """Read the folder; msgspec.ValidationError or OSError says what is wrong with it."""
    systems = [
        msgspec.convert(_yaml(path), OsProfile) for path in sorted(folder.glob("*.yaml")) if path.stem not in _TABLES
    ]
    hardware, services = _yaml(folder / "hardware.yaml"), _yaml(folder / "services.yaml")
    roles = _yaml(folder / "roles.yaml")
    languages = {
        name: msgspec.convert({**facts, "name": name}, Language)
        for name, facts in _yaml(folder / "languages.yaml").items()
    }
    return Catalogue(
        {system.name: system for system in systems},
        languages,
        tuple(_service(row) for row in services["common"]),
        tuple(services["may_stop"]),
        tuple(_software(row) for row in _yaml(folder / "software.yaml")),
        tuple(msgspec.convert(row, Model) for row in hardware["servers"]),
        tuple(msgspec.convert(row, Model) for row in hardware["clients"]),
        msgspec.convert(roles["roles"], dict[str, Role]),
        tuple(roles["profiles"]),
    )


def load_schema(folder: Path = FOLDER) -> dict[str, dict[str, dict[str, str]]]:
    """CIM class -> property -> type, once for builds before 20348 (`server2019`) and once after (`server23h2`)."""
    raw = msgspec.json.decode(gzip.decompress((folder / "cim-schema.json.gz").read_bytes()))
    return {"server2019": raw["server2019"], "server23h2": {**raw["server2019"], **raw["server23h2"]}}


def _service(row: list[Any]) -> ServiceSpec:
    name, display, mode, account, running, flags = row
    return ServiceSpec(name, display, mode, _ACCOUNTS.get(account, account), bool(running), Flags.read(flags))


def _software(row: list[Any]) -> SoftwareSpec:
    uninstall_id, name, version, publisher, architecture, flags = map(str, row)
    return SoftwareSpec(uninstall_id, name, version, publisher, architecture, Flags.read(flags))


def _yaml(path: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader
