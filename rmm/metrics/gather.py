"""Reads what the metrics are made of: the coordinator's database, the counts of rounds, names and sizes of files."""

from __future__ import annotations

import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rmm import __version__
from rmm.core.board import fleet_line, site_lines, with_unpolled
from rmm.core.budget import Forecast
from rmm.errors import TierError
from rmm.metrics import values
from rmm.metrics.values import Samples
from rmm.model.board import Board
from rmm.model.settings import Settings
from rmm.model.sites import Contact, Refused
from rmm.tiers import counts_file
from rmm.tiers.fleet_sqlite import BoardFile, FleetFile, Place
from rmm.tiers.fleet_sqlite.sites import SitesFile
from rmm.tiers.hot_files import written
from rmm.tiers.store.places import SPOOL, store_files
from rmm.tiers.store.status import outlook

STORE_S = 60.0  # how long sizes of files are good for: a large store has thousands of them
DAY_S = 86_400


class PerEndpoint(NamedTuple):
    """Which metrics single endpoints have, and how many endpoints at most."""

    metrics: Sequence[str] = ()
    most: int = 1000


NONE = PerEndpoint()


class _Store(NamedTuple):
    """What was seen of the data folder's files, and when (of `time.monotonic`)."""

    at: float
    files: Counter[str]
    sizes: Counter[str]
    spooled: Counter[str]
    forecast: Forecast


class Gatherer:
    """One data folder. The database is read when it has changed, the sizes of files once a minute."""

    def __init__(self, settings: Settings, per_endpoint: PerEndpoint = NONE, where: Place | None = None) -> None:
        self._settings = settings
        self._data = Path(settings.data)
        self._per_endpoint = per_endpoint
        self._file = BoardFile(where or self._data)
        self._sites = SitesFile(FleetFile(where or self._data))
        self._known: tuple[list[Contact], list[Refused]] = [], []
        self._read: tuple[object, Board] | None = None
        self._store: _Store | None = None

    def gather(self) -> Samples:
        """All metrics as they are now. What cannot be read is absent, and `rmm_source_readable` says so."""
        began, samples = time.monotonic(), Samples()
        samples.add("rmm_build_info", 1, __version__, platform.python_version())
        for source, take in (("fleet", self._fleet), ("store", self._files)):
            samples.add("rmm_source_readable", float(_done(take, samples)), source)
        values.of_rounds(samples, counts_file.read(self._data))
        samples.add("rmm_metrics_series_left_out", samples.left_out)
        samples.add("rmm_metrics_gather_seconds", time.monotonic() - began)
        return samples

    def _fleet(self, samples: Samples) -> None:
        state = self._file.state()
        if self._read is None or self._read[0] != state:
            self._read = (state, self._file.read())
            self._known = self._sites.contacts(), self._sites.refused()
        board = self._read[1]
        now = time.time()
        lines = with_unpolled(board.endpoints, self._settings.endpoints)
        board = board._replace(endpoints=lines)
        sites = site_lines(lines, board.alerts, now)
        values.of_fleet(samples, board, sites, fleet_line(lines, board.alerts, now))
        values.of_collectors(samples, *self._known)
        values.of_outbox(samples, board, _oldest(board))
        if self._per_endpoint.metrics:
            values.of_endpoints(samples, lines, *self._per_endpoint)

    def _files(self, samples: Samples) -> None:
        if self._store is None or time.monotonic() - self._store.at > STORE_S:
            self._store = self._seen()
        store = self._store
        samples.count("rmm_store_files", {(kind,): count for kind, count in store.files.items()})
        samples.count("rmm_store_bytes", {(kind,): size for kind, size in store.sizes.items()})
        samples.count("rmm_spool_bytes", {(site,): size for site, size in store.spooled.items()})
        for site, at in written(self._data).items():
            samples.put("rmm_hot_written_timestamp_seconds", at, site)
        told = store.forecast
        samples.add("rmm_disk_free_bytes", told.free)
        samples.add("rmm_disk_reserved_bytes", told.kept)
        if told.growth is not None:
            samples.add("rmm_store_growth_bytes_per_second", told.growth / DAY_S)
            samples.add("rmm_disk_full_seconds", _seconds(told.disk_days))
            if self._settings.disk.budget_gb:
                samples.add("rmm_store_budget_reached_seconds", _seconds(told.budget_days))

    def _seen(self) -> _Store:
        files, sizes = Counter[str](), Counter[str]()
        spooled = Counter(dict.fromkeys(self._settings.sites, 0))
        for file in store_files(self._data):
            size = file.size()
            files[file.kind] += 1
            sizes[file.kind] += size
            if file.kind == SPOOL:
                spooled[file.site] += size
        forecast = outlook(self._data, datetime.now(UTC), self._settings.retention, self._settings.disk)
        return _Store(time.monotonic(), files, sizes, spooled, forecast)


def _done(take: Callable[[Samples], None], samples: Samples) -> bool:
    try:
        take(samples)
    except (TierError, OSError):
        return False
    return True


def _oldest(board: Board) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for one in board.waiting:
        try:
            at = datetime.fromisoformat(one.oldest)
        except ValueError:
            continue
        found[one.channel, "held" if one.held else "waiting"] = at.timestamp()
    return found


def _seconds(days: int) -> float:
    return math.inf if days < 0 else days * DAY_S
