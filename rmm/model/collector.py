"""What a collector's manifest declares: `Manifest`, `Source`, `Field`; and `Collector`, the loaded folder."""

from __future__ import annotations

from typing import Any

import msgspec

from rmm.model.rule import Rule


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One named list of instances in the raw document, and where it comes from.

    Exactly one of the three:

    - `wql`: a SELECT of named properties, which WS-Enumeration can answer too.
    - `registry`: one instance with the named `values` of those keys of the list that exist (null where absent, a later
      key's value before an earlier's: a policy after the setting), none where no key exists. A path segment `*` stands
      for every key at that place: one instance each, whose `KeyName` is the name found there.
    - `registry_keys`: one instance per direct subkey of each path of the list, with the named `values`, `KeyName` (the
      subkey's name) and `Root` (the path's position in the list, from 0). `*` as above, without a name of its own.

    Instances hold exactly the named properties. A source without any of them is produced by the script alone.
    """

    wql: str = ""
    namespace: str = "root/cimv2"
    registry: tuple[str, ...] = ()  # full key paths, e.g. HKLM\SOFTWARE\...
    registry_keys: tuple[str, ...] = ()
    values: tuple[str, ...] = ()  # registry value names
    optional: bool = False  # an absent class or key is `unsupported`, not a fault


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field of a reading.

    `type`: text, int, float, bool, time. `kind`: gauge, counter, state, text, bool, time, now; numbers of kind gauge
    and counter are samples of the cold tier, `now` is in the last state only, all else is stored when it changes.
    The derivation (`from`, `source`, `formula` and its arguments) is documented in `rmm.core.normalize`.
    """

    type: str
    kind: str = "gauge"
    unit: str = ""
    nullable: bool = True
    title: str = ""
    formula: str = ""  # name of a derivation; plain copy of property `prop` where empty
    source: str = ""  # other source than the rows' own: its first instance, or the one that `match` finds
    match: dict[str, str] = {}  # one pair: a property of `source` -> the property of the row's instance that it equals
    unless: dict[str, Any] = {}  # property of the row's instance -> values for which this field says nothing
    missing: tuple[Any, ...] = ()  # values of `prop` by which Windows says that it knows none
    prop: str = ""
    args: dict[str, Any] = {}


class Top(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of many are kept: of each field in `by` the `rows` highest, and those that match `always`."""

    rows: int
    by: tuple[str, ...]
    always: dict[str, Any] = {}  # field -> value or list of values


class Argument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A typed argument of `collect.ps1`, which names it in its `param`. `type`: int, text or bool."""

    type: str
    default: Any
    title: str = ""


class Journal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What grows on the endpoint and is read on from a bookmark, which the poller keeps: see `rmm.core.journal`.

    Instances of `records`, one for each thing that was written, have `Log`, `Record` (its number), `Time` and what else
    there is. Instances of `logs`, one for each log, have `Log`, and where it could be read `Record` and `Time` of the
    newest, and `Access`: ok or why it could not. The script's arguments `Bookmarks` (log -> number) and `Seconds` say
    what to read.
    """

    records: str
    logs: str
    group: tuple[str, ...]  # properties of a record; those with equal values become one row
    keep_s: int = 86_400  # how long a row without new records is kept
    most: int = 300  # rows


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`collector.yaml`, validated. Seconds for times."""

    name: str
    title: str
    schema: int
    interval: int
    timeout: int
    cost: str  # C0 .. C4
    owner: str
    fields: dict[str, Field]
    description: str = ""
    rows: str = ""  # the source whose instances become rows; empty: one row per document
    where: dict[str, Any] = {}  # property -> required value or list of values; other instances are dropped
    exclude: dict[str, Any] = {}  # property -> values that drop an instance
    key: tuple[str, ...] = ()  # fields that name a row, unique within a reading
    top: Top | None = None
    sources: dict[str, Source] = {}
    rights: str = "user"  # user | admin
    # One of these is what it is about (dc, dns, dhcp, hyperv, cluster, iis, sql, rds). An endpoint whose `rows` are an
    # absent class, or an optional source without an instance, lacks it: `unsupported`, and asked again after a day.
    roles: tuple[str, ...] = ()
    os: tuple[str, ...] = ("windows",)
    powershell: str = "5.1"
    constrained: bool = True  # the script works in Constrained Language Mode
    unchanged_ttl: int = 0
    arguments: dict[str, Argument] = {}
    journal: Journal | None = None
    rules: tuple[Rule, ...] = ()


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """A valid collector folder. Texts are as on disk; `windows` and `linux` are empty where absent."""

    manifest: Manifest
    folder: str
    windows: str = ""  # collect.ps1
    linux: str = ""  # collect.sh

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def takes_arguments(self) -> bool:
        """Whether the poller gives the script typed arguments."""
        return bool(self.manifest.arguments) or self.manifest.journal is not None

    @property
    def session_free(self) -> bool:
        """Read by the poller itself without a session (cost class C0), such as availability."""
        return self.manifest.cost == "C0"

    @property
    def wql(self) -> bool:
        """Whether every source can be read by WS-Enumeration."""
        sources = self.manifest.sources.values()
        return bool(sources) and all(source.wql for source in sources)
