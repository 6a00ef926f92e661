"""What a configuration folder holds: collectors, rules, credentials, each when it is first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rmm.core.rulebook import Rulebook, like
from rmm.core.shard import shard_of
from rmm.errors import ConfigError, VaultError
from rmm.loop import SystemClock
from rmm.model.endpoint import Credential, Endpoint
from rmm.model.settings import Settings, SiteSettings
from rmm.resources import shipped
from rmm.settings.keyfiles import check_key_file
from rmm.settings.places import VAULT
from rmm.settings.proxies import with_credential
from rmm.settings.rules import shipped_rules, unfitting
from rmm.settings.targets import Targets

if TYPE_CHECKING:
    from rmm.core.query import Schema
    from rmm.model.collector import Collector
    from rmm.model.rule import Override, Rule
    from rmm.tiers.cold_sqlite import CollectorFields
    from rmm.tiers.fleet_sqlite import Place
    from rmm.vault import Vault

log = logging.getLogger(__name__)

PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file; a lab has one beside its vault

Passphrase = Callable[[], str]


def _postgres() -> Any:
    try:
        from rmm.tiers import fleet_postgres
    except ImportError as error:
        hint = "Install rmm with the extra `postgres`: pip install 'mytech-rmm[postgres]'."
        raise ConfigError("rmm.yaml: hub.database: the client of PostgreSQL is not installed", hint=hint) from error
    return fleet_postgres


def proxy_of(folder: Path, forward: SiteSettings, passphrase: Passphrase) -> str:
    """The proxy with its account, as a connection takes it. Without the vault it is tried without an account."""
    name = forward.proxy_login.get("vault", "")
    if not forward.proxy or not name:
        return forward.proxy
    from rmm.vault import Vault

    try:
        return with_credential(forward.proxy, Vault.open(folder / VAULT, passphrase()).credential(name))
    except VaultError as error:  # polling does not wait for the way to the hub
        log.error("forward.proxy_login: %s; %s", error, error.hint)  # noqa: TRY400 - no defect
        return forward.proxy


class Configured:
    """One configuration folder."""

    def __init__(self, settings: Settings, passphrase: Passphrase) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._passphrase = passphrase
        self._credentials: dict[str, Credential] = {}
        self.targets = Targets(settings, self.credential, self.clock)

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.settings.data)

    @cached_property
    def fleet(self) -> Place:
        """Where the fleet's database is: PostgreSQL where `hub.database` names one, else a file of the data folder."""
        from rmm.tiers.fleet_sqlite import place_of

        hub = self.settings.hub
        if not hub.database:
            return place_of(self.data)
        given = hub.database_password.get("vault", "")
        place: Place = _postgres().Server(hub.database, self.credential(given).secret if given else None)
        return place

    @property
    def fleet_server(self) -> str:
        """The database of PostgreSQL that is the fleet's, as NAME at HOST; empty where a file of the data folder is."""
        url = self.settings.hub.database
        return str(_postgres().Address(url).name) if url else ""

    @cached_property
    def _found(self) -> dict[str, Collector]:
        from rmm.catalog.load import load_catalog

        own = [Path(name) for name in self.settings.collectors.folders]
        if self.settings.bundle:
            return load_catalog([shipped("collectors")], lenient=own)
        return load_catalog([shipped("collectors"), *own])

    @cached_property
    def catalog(self) -> dict[str, Collector]:
        """All collectors that are not disabled: the shipped ones and the configured folders."""
        found = self._found
        unknown = [
            name
            for name in (*self.settings.collectors.disable, *self.settings.collectors.interval)
            if name not in found
        ]
        if unknown and self.settings.bundle:  # the hub is newer, and has collectors that are not here
            log.warning("collectors of the hub that are not here: %s", ", ".join(unknown))
        elif unknown:
            names = ", ".join(sorted(found))
            raise ConfigError(f"rmm.yaml: collectors: there is no {', '.join(unknown)}; there are {names}")
        return {name: found[name] for name in found if name not in self.settings.collectors.disable}

    @cached_property
    def fields(self) -> Mapping[str, CollectorFields]:
        """How the cold tier keeps each collector's fields."""
        from rmm.tiers.cold_sqlite import fields_of

        return {name: fields_of(collector.manifest) for name, collector in self.catalog.items()}

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Shipped rules, collectors' rules, and the configuration's own, which replace others of the same id."""
        rules = {rule.id: rule for rule in shipped_rules()}
        for collector in self.catalog.values():
            rules |= {rule.id: rule for rule in collector.manifest.rules}
        rules |= {rule.id: rule for rule in self._own_rules}
        if problems := self.rule_problems(rules):
            raise ConfigError(problems=tuple(problems))
        return tuple(rules.values())

    @property
    def _own_rules(self) -> list[Rule]:
        """The configuration's own rules; without those of collectors that only a newer hub has."""
        if not self.settings.bundle:
            return list(self.settings.rules)
        return [rule for rule in self.settings.rules if not rule.collector or rule.collector in self._found]

    def rule_problems(self, every: Mapping[str, Rule]) -> list[str]:
        """The configuration's own rules speak of what exists; those of a disabled collector may stay.

        `every`: all rules by id. Returns `file:line: key: text` of each problem.
        """
        disabled = self.settings.collectors.disable
        own = [rule for rule in self._own_rules if rule.collector not in disabled]
        names = {rule.id for rule in own}
        # What other collectors have is known only here.
        own += [
            rule for rule in every.values() if rule.when and rule.id not in names and rule.collector in self.catalog
        ]
        known = {**every, **{rule.id: rule for rule in self._rules_of_disabled}}
        manifests = {name: one.manifest for name, one in self.catalog.items()}
        places = self.settings.rule_places
        return unfitting(own, self._own_overrides(known), places, known, manifests, self.schema)

    def _own_overrides(self, known: Mapping[str, Rule]) -> dict[int, Override]:
        """The configuration's own by their number; without those of rules that only a newer hub has."""
        given = dict(enumerate(self.settings.overrides))
        if not self.settings.bundle:
            return given
        return {n: one for n, one in given.items() if any(like(one.rule, name) for name in known)}

    @cached_property
    def _rules_of_disabled(self) -> list[Rule]:
        """Rules of collectors that are not used, which overrides may go on naming."""
        return [rule for name, one in self._found.items() if name not in self.catalog for rule in one.manifest.rules]

    @cached_property
    def schema(self) -> Schema:
        """What queries and free conditions may name."""
        from rmm.core.query import schema_of

        return schema_of(one.manifest for one in self.catalog.values())

    @cached_property
    def rulebook(self) -> Rulebook:
        """The rules of each endpoint."""
        zones = {site.id: ZoneInfo(site.timezone) for site in self.settings.sites.values()}
        listed = {endpoint.id: endpoint for endpoint in self.settings.endpoints}
        return Rulebook(self.rules, self.settings.overrides, listed, zones, self.schema)

    @cached_property
    def vault(self) -> Vault:
        """The unlocked vault; asks for the passphrase once."""
        from rmm.vault import Vault

        return Vault.open(self.vault_path, self.passphrase())

    @property
    def vault_path(self) -> Path:
        """The vault's file."""
        return Path(self.settings.folder) / VAULT

    def passphrase(self) -> str:
        """The vault's passphrase, from wherever it was given."""
        return self._passphrase()

    def credential(self, name: str) -> Credential:
        """A credential by name; each is unsealed once."""
        if name not in self._credentials:
            credential = self.vault.credential(name)
            check_key_file(credential)
            self._credentials[name] = credential
        return self._credentials[name]

    def proved(self) -> tuple[str, ...]:
        """Look at all that a round needs, also credentials. Returns what is worth telling.

        Raises ConfigError, CatalogError or VaultError where a round could not begin.
        """
        from rmm.settings.baselines import read_baselines

        settings = self.settings
        baselines = read_baselines(Path(settings.source) / "baselines", lenient=bool(settings.bundle))
        if baselines.problems:
            raise ConfigError(problems=tuple(baselines.problems))
        _ = self.rulebook, self.intervals()
        named = {self.targets.credential_of(one) for one in settings.endpoints if one.enabled}
        for name in sorted(named - {""}):
            self.credential(name)
        return (*settings.ignored, *baselines.ignored)

    def shard(self, endpoint: Endpoint) -> int:
        """The endpoint's storage shard within its site."""
        return shard_of(endpoint.id, self.targets.site(endpoint).shards)

    def known_site(self, site: str) -> None:
        """ConfigError where no site has this id."""
        if site not in self.settings.sites:
            raise ConfigError(f"there is no site {site!r}; there are {', '.join(self.settings.sites)}")

    def intervals(self) -> dict[str, int]:
        """Collector name -> seconds, cheap ones first: what costs most waits behind what matters most."""
        own = self.settings.collectors.interval
        manifests = [collector.manifest for collector in self.catalog.values()]
        ordered = sorted(manifests, key=lambda manifest: (manifest.cost, manifest.name))
        return {manifest.name: own.get(manifest.name, manifest.interval) for manifest in ordered}
