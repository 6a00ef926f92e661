"""Moves a site's endpoints to other shards when its number of shards was changed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path

from rmm.core.shard import shard_of
from rmm.durable import disk_code, fsync_folder, hold
from rmm.errors import TierError
from rmm.ports import Outlet, ShardStore
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite.series import CollectorFields
from rmm.tiers.shard_store import open_shard

log = logging.getLogger(__name__)


def must_relocate(data: Path, site: str, shards: int) -> bool:
    """Whether `relocate` has anything to do. Cheap; asked before every round."""
    return hot_json.shard_count(data, site) != shards


def shards_on_disk(data: Path, site: str) -> list[int]:
    """All shards that have left a state or a spool: with the wanted ones, whose locks `relocate` needs."""
    spools = (int(path.name) for path in (data / "spool" / site).glob("*") if path.name.isdigit())
    return sorted({*hot_json.shards_of(data, site), *spools})


async def follow(
    data: Path,
    site: str,
    shards: int,
    *,
    fields: Mapping[str, CollectorFields],
    now: Callable[[], datetime],
    outlet: Outlet,
) -> None:
    """Bring a site to this number of shards where it has another, under the locks of all shards, old and new.

    Raises LeaseLost while one of them is at work, and what `relocate` raises.
    """
    if not must_relocate(data, site, shards):
        return
    with contextlib.ExitStack() as locks:
        for shard in sorted({*shards_on_disk(data, site), *range(shards)}):
            locks.enter_context(hold(data / "locks" / f"{site}-{shard}.lock", f"shard {shard} of site {site}"))
        await relocate(
            data, site, shards, lambda endpoint: shard_of(endpoint, shards), fields=fields, now=now, outlet=outlet
        )


async def relocate(
    data: Path,
    site: str,
    shards: int,
    shard_of: Callable[[str], int],
    *,
    fields: Mapping[str, CollectorFields],
    now: Callable[[], datetime],
    outlet: Outlet,
) -> int:
    """Bring the states of a site into the layout of `shards` shards; returns how many moved.

    What is still spooled goes to all tiers and the coordinator first, because a spool belongs to its shard's number.
    History stays where it is: readers look into all files of a site. The caller holds the locks of all shards, old and
    new. A crash at any moment loses nothing, and the next call begins again.

    Raises TierError when the coordinator could not commit; nothing was moved then.
    """
    if not must_relocate(data, site, shards):
        return 0
    for shard in shards_on_disk(data, site):
        await _drain(data, site, shard, fields=fields, now=now, outlet=outlet)
        _make_final(data / "spool" / site / str(shard))
    moved = hot_json.relocate(data, site, shards, shard_of, now())
    if moved:
        log.info("site %s: %d endpoints moved to other shards, of %d now", site, moved, shards)
    return moved


async def _drain(
    data: Path,
    site: str,
    shard: int,
    *,
    fields: Mapping[str, CollectorFields],
    now: Callable[[], datetime],
    outlet: Outlet,
) -> None:
    if not any((data / "spool" / site / str(shard)).glob("*.spool")):
        return
    async with open_shard(data, site, shard, fields=fields, now=now) as store:
        for record in store.pending():
            await outlet.publish(site, shard, record)
        await store.flush()
        if store.postponed is not None:
            raise store.postponed
        if not await outlet.committed(site, shard):
            raise TierError(
                f"the number of shards of site {site} was changed, but shard {shard} still has observations that the "
                "coordinator could not take",
                code="tier.relocate",
                hint="Set the old number of shards again until a round has ended without errors.",
            )
        await store.release()


def left_over(data: Path, site: str, held: Collection[int]) -> list[int]:
    """Shards that are not held and have something in their spools: of a process that died while it held them."""
    return [
        shard
        for shard in shards_on_disk(data, site)
        if shard not in held and any((data / "spool" / site / str(shard)).glob("*.spool"))
    ]


async def hand_over(
    data: Path, site: str, shard: int, open_store: Callable[[str, int], AbstractAsyncContextManager[ShardStore]],
    outlet: Outlet,
) -> None:  # fmt: skip
    """Bring what a spool holds to all tiers and the coordinator; what they cannot take now stays.

    Another collector of the site has the shard, so nobody may ever poll it here again. Raises LeaseLost, TierError.
    """
    with hold(data / "locks" / f"{site}-{shard}.lock", f"shard {shard} of site {site}"):
        async with open_store(site, shard) as store:
            for record in store.pending():
                await outlet.publish(site, shard, record)
            await store.flush()
            if store.postponed is None and await outlet.committed(site, shard):
                await store.release()


def _make_final(spool: Path) -> None:
    """A segment that comes back with a loss of power would lie for ever under a number that no shard has."""
    try:
        if spool.is_dir():
            fsync_folder(spool)
    except OSError as error:
        raise TierError(f"{spool}: {error.strerror or error}", code=disk_code(error)) from error
