"""WQL in, instances out: plans are compiled once per query and kind of system, rows come from the providers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rmm.lab import wql
from rmm.lab.cim import counters, hardware, services, storage, system, traffic
from rmm.lab.cim.moment import Moment, Provider, Row, World
from rmm.lab.fixtures import Fixtures, catalog_with, read_time
from rmm.lab.machine import INVALID_CLASS, INVALID_NAMESPACE, CimFault, CimInstances
from rmm.lab.profile import Catalogue
from rmm.lab.state import MachineState
from rmm.lab.windows.classes import CimClass, everywhere, find_class, has_namespace, plain_namespace

PROVIDERS: Mapping[str, Provider] = {
    **system.PROVIDERS,
    **hardware.PROVIDERS,
    **storage.PROVIDERS,
    **services.PROVIDERS,
    **counters.PROVIDERS,
    **traffic.PROVIDERS,
}
MAX_PLANS = 1024


class Plan(NamedTuple):
    """A compiled query. `types` holds the selected properties in order."""

    class_name: str
    types: dict[str, str]
    predicate: wql.Predicate | None
    provider: Provider
    namespace: str = "root/cimv2"


class Cim:
    """The classes of `schema` (see `profile.load_schema`) on every machine of a lab."""

    def __init__(
        self, catalogue: Catalogue, schema: dict[str, dict[str, dict[str, str]]], collectors: tuple[Path, ...] = ()
    ) -> None:
        self.world = World(catalogue, Fixtures(PROVIDERS.__contains__, partial(catalog_with, collectors)))
        self._schema = schema
        self._plans: dict[tuple[str, str, str], Plan] = {}

    def moment(self, machine: MachineState, now: datetime) -> Moment:
        return Moment(machine, now, self.world)

    def query(self, machine: MachineState, namespace: str, text: str, now: datetime) -> CimInstances:
        """Raises CimFault with WMI's own code when namespace, class or query is not right."""
        plan = self.plan(machine, namespace, text)
        rows = columns(self.rows(plan, self.moment(machine, now)), tuple(plan.types))
        if "SystemName" in plan.types:
            for row in rows:  # shared rows do not know whose they are
                row["SystemName"] = machine.name
        return CimInstances(plan.class_name, plan.namespace, plan.types, rows)

    def rows(self, plan: Plan, moment: Moment) -> list[Row]:
        """The matching instances with all their properties (shared: do not change them)."""
        key = f"{plan.namespace}:{plan.class_name}"
        rows = moment.seen.get(key)
        if rows is None:
            rows = moment.seen[key] = plan.provider(moment)
        test = plan.predicate
        return rows if test is None else [row for row in rows if test(row)]

    def plan(self, machine: MachineState, namespace: str, text: str) -> Plan:
        """The compiled form of a query on such a machine. Raises CimFault."""
        key = (_era(machine.os.build), namespace, text)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._compile(key[0], namespace, text)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _compile(self, era: str, namespace: str, text: str) -> Plan:
        space = plain_namespace(namespace)
        if not has_namespace(space):
            raise CimFault(INVALID_NAMESPACE, f"Invalid namespace: {namespace}")
        query = wql.parse(text)
        provider: Provider
        name, found = query.class_name, None
        if space == "root/cimv2":
            found = self._known(era, name)
        if found is not None:
            name, types = found
            provider = PROVIDERS[name]
        else:
            known = find_class(space, name, 0 if era == "server2019" else 20348)
            if known is None:
                raise CimFault(INVALID_CLASS, f"Invalid class: {name}")
            name, types, provider = known.name, dict(known.types), _fixture(known)
        chosen = {wql.spelled(prop, types): "" for prop in query.properties} or types
        selected = {prop: types[prop] for prop in chosen}
        predicate = wql.predicate(query.where, types) if query.where is not None else None
        return Plan(name, selected, predicate, provider, space)

    def _known(self, era: str, name: str) -> tuple[str, dict[str, str]] | None:
        """A class with a provider of its own."""
        try:
            found = self._class(era, name)
        except CimFault:
            return None
        return found if found[0] in PROVIDERS else None

    def _class(self, era: str, name: str) -> tuple[str, dict[str, str]]:
        classes = self._schema[era]
        folded = name.casefold()
        for known, types in classes.items():
            if known.casefold() == folded:
                return known, types
        raise CimFault(INVALID_CLASS, f"Invalid class: {name}")

    def types(self, machine: MachineState, class_name: str) -> dict[str, str]:
        """All properties of a class on such a machine."""
        return self._class(_era(machine.os.build), class_name)[1]


def _fixture(known: CimClass) -> Provider:
    """Instances from the nearest samples. A class of a role or product is on a machine only where a sample has it."""
    times = [name for name, kind in known.types.items() if kind == "datetime"]

    def provide(moment: Moment) -> list[Row]:
        rows = moment.world.fixtures.instances(
            moment.machine, known.namespace, known.name, moment.stamps(), moment.elapsed
        )
        if rows is None:
            if not known.extra:
                return []
            there = moment.world.fixtures.state(moment.machine)["cim"]
            if everywhere(known.namespace) or plain_namespace(known.namespace) in there:
                raise CimFault(INVALID_CLASS, f"Invalid class: {known.name}")
            raise CimFault(INVALID_NAMESPACE, f"Invalid namespace: {known.namespace}")
        for row in rows:
            for name in times:
                if isinstance(row.get(name), str):
                    row[name] = read_time(row[name])
        return rows

    return provide


def _era(build: int) -> str:
    """Which of the two known schemas is nearer to a build."""
    return "server2019" if build < 20348 else "server23h2"


def columns(rows: list[Row], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows cut down to `names`; what a row does not say is null."""
    return [{name: row.get(name) for name in names} for row in rows]
