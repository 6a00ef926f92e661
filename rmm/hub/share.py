"""What a site gets of the hub's configuration: its own part, and nothing of other sites, no channel, no secret.

What is said of several sites is rewritten for the one; what cannot be, because it only makes sense with the others, is
left out, and said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rmm.catalog.load import LINUX, MANIFEST, WINDOWS, load_catalog
from rmm.core.filenames import unfit_name
from rmm.document import read_document
from rmm.errors import ConfigError
from rmm.hub.known_hosts import hosts_of
from rmm.hub.scopes import Around
from rmm.hub.writing import yaml_of
from rmm.model.rule import Rule
from rmm.model.settings import Settings
from rmm.resources import shipped
from rmm.settings.endpoints import ENDPOINTS, csv_of
from rmm.settings.load import load_settings
from rmm.settings.places import SETTINGS
from rmm.settings.rules import shipped_rules

TRIES = 3
MOST_FILE = 16 << 20
WAYS = frozenset({"proxy", "proxy_login", "urls"})  # of `forward`: how one site reaches the broker
WHOLE = ("poll", "collectors", "lockout", "retention", "retention_days", "alerts", "forward")  # the same at every site
REPORTS = ("target_pct", "gap")
NOBODY = "-"  # the id of no endpoint
_PRIVATE = b"PRIVATE KEY-----"

Stamp = tuple[tuple[str, int, int], ...]


class Shared(NamedTuple):
    """The files of a bundle, and what was left out of it, in words."""

    files: dict[str, bytes]
    left_out: tuple[str, ...]


class Configuration:
    """The hub's configuration folder as it was at one moment."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self._folder = folder
        self._top: Mapping[str, Any] = _document(folder / SETTINGS)
        self._rules = {path.name: _document(path) for path in sorted((folder / "rules").glob("*.yaml"))}
        self._baselines = {path.name: _document(path) for path in sorted((folder / "baselines").glob("*.yaml"))}
        self._collectors = {f"collectors/{n}": Path(name) for n, name in enumerate(settings.collectors.folders)}

    @classmethod
    def read(cls, folder: Path) -> Configuration:
        """Read and check a folder. Raises ConfigError with all of its problems, as for the hub itself."""
        for _ in range(TRIES):
            before = stamp(folder, ())
            one = cls(load_settings(folder), folder)
            if before == stamp(folder, ()):
                return one
        raise ConfigError(f"{folder}: is being changed all the time", hint="It is read again soon.")

    def files(self) -> Iterator[Path]:
        """What is read beside the files of the folder itself: whose change makes another bundle."""
        for site in self.settings.sites.values():
            yield from (Path(name) for name in (site.ca_file, site.known_hosts) if name)
        for folder in self._collectors.values():
            yield from _collector_files(folder)

    def of(self, site: str) -> Shared:
        """The bundle of one site. Raises ConfigError for an unknown site, and for a file that must not leave."""
        if site not in self.settings.sites:
            raise ConfigError(f"there is no site {site!r}; there are {', '.join(self.settings.sites)}")
        around = Around(site, self.settings)
        top = self._own_top(site, around)
        files = {ENDPOINTS: csv_of(around.endpoints).encode()}
        files |= self._named_files(site, around, top)
        files[SETTINGS] = yaml_of(top, f"The configuration of the site {site}, made by the hub: change it there.")
        files |= self._rule_files(around)
        files |= self._baseline_files(around)
        for name, data in files.items():
            if _PRIVATE in data:
                hint = "Keep private keys apart: a site has a vault and keys of its own."
                raise ConfigError(f"{name} of the site {site} holds a private key, and is not handed out", hint=hint)
            if why := unfit_name(name):
                raise ConfigError(f"{name}: cannot be handed to sites: {why}", hint="Give the file another name.")
        return Shared(files, tuple(around.left_out))

    def _own_top(self, site: str, around: Around) -> dict[str, Any]:
        """The site's own rmm.yaml, without the files that it names."""
        top = {key: self._top[key] for key in WHOLE if self._top.get(key)}
        top["sites"] = [dict(one) for one in self._top["sites"] if one["id"] == site]
        top["groups"] = {name: one for name, one in (self._top.get("groups") or {}).items() if name in around.groups}
        top["exceptions"] = list(around.exceptions(self._top.get("exceptions") or ()))
        top["maintenance"] = list(around.scoped("maintenance", self._top.get("maintenance") or (), name="name"))
        top["dependencies"] = list(around.dependencies(self._top.get("dependencies") or ()))
        top["reports"] = {key: one for key, one in (self._top.get("reports") or {}).items() if key in REPORTS}
        top["forward"] = {key: one for key, one in top.get("forward", {}).items() if key not in WAYS}
        return {key: value for key, value in top.items() if value or value == 0}

    def _named_files(self, site: str, around: Around, top: dict[str, Any]) -> dict[str, bytes]:
        """The files that the site names, and own collectors; what names them is set to the names in the bundle."""
        files: dict[str, bytes] = {}
        own, known = top["sites"][0], self.settings.sites[site]
        if known.ca_file:
            own["ca_file"] = "files/ca.pem"
            files["files/ca.pem"] = _bytes(Path(known.ca_file))
        if known.known_hosts:
            own["known_hosts"] = "files/known_hosts"
            hosts = {((one.address or one.name).casefold(), one.port or known.port) for one in around.endpoints}
            files["files/known_hosts"] = hosts_of(_bytes(Path(known.known_hosts)), hosts)
        if self._collectors:
            top["collectors"] = {**top["collectors"], "folders": list(self._collectors)}
        for name, folder in self._collectors.items():
            files |= {f"{name}/{path.parent.name}/{path.name}": _bytes(path) for path in _collector_files(folder)}
        return files

    def _rule_files(self, around: Around) -> dict[str, bytes]:
        files = {}
        for file, data in self._rules.items():
            given = data if isinstance(data, Mapping) else {"rules": data or ()}
            rules, overrides = given.get("rules") or (), given.get("overrides") or ()
            kept = list(around.rules(rules))
            # A rule of this id replaces another at the hub: without it the other would come back at the site.
            gone = {str(one.get("id")) for one in rules} - {str(one.get("id")) for one in kept}
            kept += [_for_nobody(self._others[name]) for name in sorted(gone) if name in self._others]
            here = list(around.scoped("overrides", overrides, name="rule"))
            if kept or here:
                found = {key: value for key, value in (("rules", kept), ("overrides", here)) if value}
                files[f"rules/{file}"] = yaml_of(found, "Made by the hub.")
        return files

    @cached_property
    def _others(self) -> dict[str, Rule]:
        """Rules by id that are there without rules/*.yaml."""
        own = load_catalog(list(self._collectors.values())) if self._collectors else {}
        return {**_shipped(), **{rule.id: rule for one in own.values() for rule in one.manifest.rules}}

    def _baseline_files(self, around: Around) -> dict[str, bytes]:
        files = {}
        for file, data in self._baselines.items():
            if isinstance(data, Mapping) and (own := around.baseline(data)) is not None:
                files[f"baselines/{file}"] = yaml_of(own, "Made by the hub.")
        return files


def stamp(folder: Path, others: Iterable[Path]) -> Stamp:
    """What tells that something of a configuration may have changed: names, times and sizes of its files."""
    found = []
    own = (folder / SETTINGS, folder / ENDPOINTS, *(folder / "rules").glob("*"), *(folder / "baselines").glob("*"))
    for path in sorted({*own, *others}):
        try:
            facts = path.stat()
        except OSError:
            found.append((str(path), 0, -1))
        else:
            found.append((str(path), facts.st_mtime_ns, facts.st_size))
    return tuple(found)


@cache
def _shipped() -> dict[str, Rule]:
    """The rules that come with rmm, by id: they do not change while a process runs, and are slow to read."""
    catalog = load_catalog([shipped("collectors")])
    rules = [rule for one in catalog.values() for rule in one.manifest.rules]
    return {rule.id: rule for rule in (*shipped_rules(), *rules)}


def _for_nobody(rule: Rule) -> dict[str, Any]:
    """The rule as YAML has it, for no endpoint."""
    values: dict[str, Any] = msgspec.to_builtins(rule)
    return {**values, "only": {"endpoint": NOBODY}}


def _document(path: Path) -> Any:
    """A YAML file that has been checked already."""
    return read_document(_bytes(path).decode("utf-8-sig")).data


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MOST_FILE:
        raise ConfigError(f"{path}: has more than {MOST_FILE} bytes, and sites would get it")
    return data


def _collector_files(folder: Path) -> Iterator[Path]:
    """What runs of the collectors of a folder: no samples, no documentation, nothing that lies about."""
    for place in sorted(path for path in folder.iterdir() if (path / MANIFEST).is_file()) if folder.is_dir() else ():
        yield from (place / name for name in (MANIFEST, WINDOWS, LINUX) if (place / name).is_file())
