"""Who is told of what, made of the configuration: channels, routes, escalation, and the coordinator with them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from rmm.configured import Configured
from rmm.errors import ConfigError, TierError
from rmm.model.routing import Routing, Subject
from rmm.plugins import build

if TYPE_CHECKING:
    from rmm.coordinator import Coordinator, SitesCoordinator
    from rmm.coordinator.escalation import Setup
    from rmm.core.alerting.mute import Context
    from rmm.ports import Channel

C = TypeVar("C", bound="Coordinator")


class Telling(Configured):
    """The part of the configuration by which alerts are told."""

    def coordinator(self) -> AbstractAsyncContextManager[Coordinator]:
        """The coordinator of this data folder, with the configured channels."""
        from rmm.coordinator import Coordinator

        return self._coordinator(Coordinator)

    def sites_coordinator(self, *, tells: bool = True) -> AbstractAsyncContextManager[SitesCoordinator]:
        """The same for what sites send, whose rounds end each at its own time. `tells`: see `_coordinator`."""
        from rmm.coordinator import SitesCoordinator

        return self._coordinator(SitesCoordinator, tells=tells)

    @asynccontextmanager
    async def _coordinator(self, kind: type[C], *, tells: bool = True) -> AsyncIterator[C]:
        """`tells`: without it another process delivers what this one decides, and no channel is opened here."""
        channels, escalation = (self.channels(), self.escalation()) if tells else ([], None)
        keys = {name: collector.manifest.key for name, collector in self.catalog.items()}
        async with kind.open(
            self.data, rules=self.rulebook, keys=keys, channels=channels, clock=self.clock,
            settings=self.settings.alerts, context=self.alert_context(), routing=self.routing(), escalation=escalation,
            place=self.fleet,
        ) as coordinator:  # fmt: skip
            coordinator.delivery.rests = not tells
            yield coordinator

    def alert_context(self) -> Context:
        """What the configuration says that decides whether an alert is told."""
        from rmm.core.alerting.mute import Context
        from rmm.core.alerting.scopes import place_of

        zones = {f"site:{site.id}": ZoneInfo(site.timezone) for site in self.settings.sites.values()}
        zones |= {one.timezone: ZoneInfo(one.timezone) for one in self.settings.windows if one.timezone}
        places = {one.id: place_of(one) for one in self.settings.endpoints}
        return Context(self.settings.windows, self.settings.dependencies, zones, places)

    def routing(self) -> Routing:
        """Who is told of what, with what routes may know of endpoints and rules."""
        return Routing(
            routes=self.settings.routes,
            inhibit=self.settings.inhibit,
            subjects={one.id: Subject(one.group, one.tags) for one in self.settings.endpoints},
            quarters={rule.id: rule.quarter for rule in self.rules},
        )

    @property
    def channel_options(self) -> Mapping[str, Mapping[str, Any]]:
        """What is configured of each channel; without any, the file notifications.log."""
        return self.settings.channels or {"log": {"type": "log"}}

    @property
    def contact_options(self) -> Mapping[str, Mapping[str, Any]]:
        """What people are told by beside the channels: channels with the options of contacts laid over theirs."""
        people = self.settings.escalation.people.values()
        contacts = [one for person in people for one in person.contacts if one.options]
        return {one.name: {**self.channel_options[one.channel], **one.options} for one in contacts}

    def escalation(self) -> Setup | None:
        """What escalates alerts; None without a policy."""
        if not self.settings.escalation.policies:
            return None
        from rmm.calendars.lookup import Lookup
        from rmm.coordinator.escalation import Setup

        lookup = Lookup(self.settings.escalation, self.settings.sites)
        return Setup(self.settings.escalation, lookup, [self.channel(name) for name in self.contact_options])

    def channels(self) -> list[Channel]:
        """All channels, with their secrets."""
        return [self.channel(name) for name in self.channel_options]

    def channel(self, name: str) -> Channel:
        """One channel. Raises ConfigError for wrong options, VaultError for a secret that is not in the vault."""
        known = {**self.contact_options, **self.channel_options}
        if name not in known:
            raise ConfigError(f"there is no channel {name!r}; there are {', '.join(known)}")
        options = known[name]
        kind, folder = str(options["type"]), Path(self.settings.folder)
        rest = {key: self._with_secrets(value) for key, value in options.items() if key != "type"}
        if kind == "log":
            rest["file"] = str(self.data / str(rest.get("file", "notifications.log")))
        if isinstance(rest.get("ca_file"), str) and rest["ca_file"]:
            rest["ca_file"] = str(folder / rest["ca_file"])
        if kind in ("email", "apprise"):
            rest.setdefault("templates", str(folder / "templates"))
        channel: Channel = build("channels", kind, name=name, options=rest)
        return channel

    def _with_secrets(self, value: Any) -> Any:
        """`{vault: NAME}` is that credential, also one level down."""
        if isinstance(value, dict) and set(value) == {"vault"} and isinstance(value["vault"], str):
            return self.credential(value["vault"])
        return {key: self._with_secrets(one) for key, one in value.items()} if isinstance(value, dict) else value

    @asynccontextmanager
    async def _telling_of_the_disk(self) -> AsyncIterator[None]:
        """What cannot be kept is not acknowledged and ends the round; who can be told without the disk, is told."""
        from rmm.coordinator import tell_fault

        try:
            yield
        except TierError as error:
            text = f"the site collector cannot store readings: {error}"
            with contextlib.suppress(TimeoutError):
                await tell_fault(self.channels(), self.clock, "collector_disk", text)
            raise
