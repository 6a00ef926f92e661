"""One collector against one endpoint, for people who write one: nothing of it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rmm.catalog.bundle import bundler
from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint
from rmm.model.observation import CollectorResult, Observation
from rmm.model.state import EndpointState
from rmm.poller.kit import Kit
from rmm.poller.visit import Visitor


class Single(msgspec.Struct, frozen=True):
    """What came of it: the observation, the collector's part, and the raw document where there was one."""

    observation: Observation
    result: CollectorResult | None
    document: Mapping[str, Any] | None


async def run_single(kit: Kit, collector: Collector, endpoint: Endpoint, state: EndpointState | None) -> Single:
    """Poll `endpoint` for this collector alone.

    Args:
        kit: of the process; the collector need not be of its catalogue.
        collector: what to run.
        endpoint: where.
        state: what earlier polls know of the endpoint: rates are those since then, and bookmarks are theirs.
    """
    name = collector.name
    alone = {name: collector}
    heard: dict[str, Mapping[str, Any]] = {}
    own = msgspec.structs.replace(
        kit, collectors=alone, intervals={name: collector.manifest.interval}, bundle=bundler(alone)
    )
    observation = await Visitor(own, heard.__setitem__).visit(endpoint, 0, 0, [name], state)
    return Single(observation, observation.collectors.get(name), heard.get(name))
