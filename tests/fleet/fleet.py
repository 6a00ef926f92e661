"""A hub, a broker, sites with their collectors and lab endpoints behind them: built, broken, mended and compared."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rmm.core.lease import owner_of
from rmm.site.control import Status, read_status
from rmm.tiers.fleet_postgres import Server
from rmm.tiers.layout import left_over
from tests.fleet import pieces
from tests.fleet.arrivals import Arrivals
from tests.fleet.pieces import Lab, Link, Process, rmm, wait_for
from tests.fleet.verdict import Verdict, verdict
from tests.postgres.cluster import Cluster

Say = Callable[[str], None]
SHARDS = 4  # of a site with several collectors


class Collector:
    """One collector of a site, with its link."""

    def __init__(self, site: str, folder: Path, link: Link, process: Process) -> None:
        self.site = site
        self.name = process.name
        self.config = folder
        self.link = link
        self.process = process

    @property
    def data(self) -> Path:
        return self.config / "data"

    @property
    def status(self) -> Status | None:
        """What the process that runs says of itself."""
        known = read_status(self.data)
        return known if known is not None and known.pid == self.process.pid else None

    @property
    def shards(self) -> tuple[int, ...]:
        """What it holds, as it says."""
        known = self.status
        return known.beat.shards if known is not None else ()

    def settled(self, since: datetime | None = None) -> bool:
        """Whether it has polled (since then) what it holds, and the hub has committed all of it."""
        known = self.status
        if known is None or known.beat.spooled or (since is not None and known.beat.at <= since):
            return False
        if left_over(self.data, self.site, known.beat.shards):
            return False
        polled = known.beat.polled_at
        return not known.beat.shards or (polled is not None and (since is None or polled > since))


class Fleet:
    """Use it as a context manager; everything ends with it."""

    def __init__(
        self, folder: Path, *, sites: int, endpoints: int, seed: int, say: Say, rules: str = "",
        database: Cluster | None = None, collectors: int = 1, wrong: int = 0,
    ) -> None:  # fmt: skip
        """`collectors`: of each site. `wrong`: so many sites, the last ones, have a wrong password in their vaults."""
        self.folder = folder
        self.random = random.Random(seed)
        self.say = say
        self._names = {f"site-{number:02d}": endpoints for number in range(1, sites + 1)}
        self.hub_config = folder / "hub"
        self._rules = rules
        self._database = database
        self._each = collectors
        self.shards = SHARDS if collectors > 1 else 1
        self.wrong = frozenset(sorted(self._names)[sites - wrong :])
        self.sites: dict[str, list[Collector]] = {}
        self.faults: Counter[str] = Counter()

    def __enter__(self) -> Fleet:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        processes = [one.process for one in self.collectors]
        processes += [one for one in (getattr(self, "hub", None), getattr(self, "broker", None)) if one]
        if lab := getattr(self, "lab", None):
            processes.append(lab.process)
        pieces.tidy(processes)
        for one in self.collectors:
            one.link.close()
        if arrivals := getattr(self, "arrivals", None):
            arrivals.close()

    def _build(self) -> None:
        self.lab = Lab(self.folder, sum(self._names.values()))
        self.say(f"lab: {sum(self._names.values())} endpoints")
        self.port = pieces.free_port()
        hub: dict[str, Any] = {"urls": [f"tls://{pieces.HOST}:{self.port}"], "silent_after": 20}
        if self._database is not None:
            hub["database"] = self._database.url()
        pieces.configure(self.hub_config, self.lab, self._names, {"hub": hub}, shards=self.shards)
        if self._rules:
            (self.hub_config / "rules").mkdir()
            (self.hub_config / "rules" / "own.yaml").write_text(self._rules, encoding="utf-8")
        rmm("hub", "init", "--config", str(self.hub_config))
        broker = self.folder / "broker"
        ports = [str(self.port), str(pieces.free_port()), str(pieces.free_port())]
        words = [
            "--hosts",
            pieces.HOST,
            "--listen",
            pieces.HOST,
            "--out",
            str(broker),
            "--config",
            str(self.hub_config),
        ]
        rmm("hub", "config", *words, "--port", ports[0], "--websocket-port", ports[1], "--monitor-port", ports[2])
        server = str(Path(sys.executable).with_name("nats-server"))
        self.broker = Process("broker", [server, "-c", str(next(broker.rglob("*.conf")))], self.folder / "broker.log")
        self.broker.start()
        self.hub = Process("hub", self._command("hub", self.hub_config), self.folder / "hub.log")
        self.hub.start()
        wait_for("the hub", lambda: "is at work" in self.hub.log.read_text(encoding="utf-8"), 60)
        self.arrivals = Arrivals(self.hub_data if self._database is None else Server(self._database.url()))
        with ThreadPoolExecutor(4) as threads:
            self.sites |= zip(self._names, threads.map(self._enroll, self._names), strict=True)
        self.say(f"broker and hub run; {len(self.collectors)} collectors of {len(self.sites)} sites are enrolled")
        for one in self.collectors:
            one.process.start()

    def _command(self, what: str, config: Path) -> list[str]:
        words = [what, "run", "--config", str(config), "--passphrase-file", str(config / "passphrase")]
        return [sys.executable, "-m", "rmm", *words]

    def _enroll(self, site: str) -> list[Collector]:
        """All collectors of a site, each with a token of its own; their vaults are copies of the first one's."""
        found: list[Collector] = []
        for letter in "abcdefgh"[: self._each]:
            name = site if self._each == 1 else f"{site}-{letter}"
            link, config = Link(self.port), self.folder / name
            called = ("--name", name, "--config", str(self.hub_config))  # whose shards are whose follows from the names
            token = rmm("hub", "invite", site, *called).strip().splitlines()[-1]
            pieces.vault_of(found[0].config if found else self.lab.config, config,
                            wrong=site in self.wrong and not found)  # fmt: skip
            rmm("site", "enroll", token, "--url", f"tls://{pieces.HOST}:{link.port}", "--config", str(config))
            process = Process(name, self._command("site", config), self.folder / f"{name}.log")
            found.append(Collector(site, config, link, process))
        return found

    @property
    def collectors(self) -> list[Collector]:
        """Of all sites."""
        return [one for own in self.sites.values() for one in own]

    @property
    def hub_data(self) -> Path:
        return self.hub_config / "data"

    def settled(self, wait_s: float, *, again: bool = False) -> float:
        """Wait until all shards are held and nothing waits at any site; returns the seconds.

        `again`: and all of them have polled once more from now on.
        """
        began, since = time.monotonic(), datetime.now(UTC) if again else None
        for site, own in self.sites.items():
            wait_for(f"all shards of {site} are held", lambda own=own: self.held(own), wait_s)
            for one in own:
                wait_for(f"{one.name} has handed over what it had", lambda one=one: one.settled(since), wait_s)
        return time.monotonic() - began

    def shared_out(self, wait_s: float) -> float:
        """Wait until each collector holds what is its own by the rule of leases; returns the seconds."""
        began = time.monotonic()
        for site, own in self.sites.items():
            wait_for(f"the shards of {site} are shared out", lambda own=own: self._shared_out(own), wait_s)
        return time.monotonic() - began

    def _shared_out(self, collectors: Iterable[Collector]) -> bool:
        ids = {known.beat.collector: one for one in collectors if (known := one.status)}
        mine = {name: {n for n in range(self.shards) if owner_of(n, ids) == name} for name in ids}
        return len(ids) == self._each and all(set(one.shards) == mine[name] for name, one in ids.items())

    def held(self, collectors: Iterable[Collector], since: datetime | None = None) -> bool:
        """Whether these collectors hold all shards of their site, as they have said (since then)."""
        said = [known.beat for one in collectors if (known := one.status)]
        held = {shard for one in said for shard in one.shards if since is None or one.at > since}
        return held == set(range(self.shards))

    def wrong_logons(self) -> int:
        """How many the lab's directory has counted."""
        return sum(one.bad for one in self.lab.accounts().values())

    def finish(self) -> list[Verdict]:
        """Drain and end the sites, then the hub; returns what arrived."""
        for one in self.collectors:
            one.process.signal(signal.SIGCONT)
            one.link.delay_s = 0
            one.link.mend()
        for process in (self.broker, self.hub, *(one.process for one in self.collectors)):
            if not process.alive:
                process.start()
        for one in self.collectors:
            rmm("site", "drain", "--config", str(one.config), timeout_s=330)
        if code := self.hub.stop():
            self.say(f"the hub ended with {code}")
        self.arrivals.close()
        return [self._verdict(site, {one.name: one.data for one in own}) for site, own in self.sites.items()]

    def _verdict(self, site: str, folders: dict[str, Path]) -> Verdict:
        late, slowest_s = self.arrivals.delay(site, folders.values())
        return verdict(site, self.hub_data, folders)._replace(late=late, slowest_s=slowest_s)

    def some(self, share: float = 0.2) -> list[Collector]:
        """A few collectors by chance, one at least."""
        return self.random.sample(self.collectors, max(1, round(share * len(self.collectors))))

    # The faults, each of which ends by itself.

    def cut(self, seconds: float) -> None:
        """The links of a fifth of the collectors."""
        with self._during("links cut", seconds, self.some()) as chosen:
            for one in chosen:
                one.link.cut()
        for one in chosen:
            one.link.mend()

    def slow(self, seconds: float) -> None:
        """Links over which everything takes half a second."""
        with self._during("links slow", seconds, self.some()) as chosen:
            for one in chosen:
                one.link.delay_s = 0.5
        for one in chosen:
            one.link.delay_s = 0.0

    def kill_collectors(self, seconds: float) -> None:
        """kill -9, and started again."""
        with self._during("collectors killed", seconds, self.some()) as chosen:
            for one in chosen:
                one.process.kill()
        for one in chosen:
            one.process.start()

    def pause_collectors(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT."""
        with self._during("collectors paused", seconds, self.some()) as chosen:
            for one in chosen:
                one.process.signal(signal.SIGSTOP)
        for one in chosen:
            one.process.signal(signal.SIGCONT)

    def kill_broker(self, seconds: float) -> None:
        """kill -9, and started again."""
        with self._during("broker killed", seconds, []):
            self.broker.kill()
        self.broker.start()

    def kill_hub(self, seconds: float) -> None:
        """kill -9, and started again."""
        with self._during("hub killed", seconds, []):
            self.hub.kill()
        self.hub.start()

    def step_clocks(self, seconds: float) -> None:
        """Collectors whose clocks are ten minutes ahead, until they are started again."""
        if pieces.FAKETIME is None:
            self.say("SKIP: clocks stepped: there is no libfaketime")
            return
        ahead = {"LD_PRELOAD": str(pieces.FAKETIME), "FAKETIME": "+600s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with self._during("clocks stepped", seconds, self.some(0.1)) as chosen:
            for one in chosen:
                one.process.stop()
                one.process.start(**ahead)
        for one in chosen:
            one.process.stop()
            one.process.start()

    def restore_hub(self, seconds: float) -> None:
        """A backup is made, the hub goes on for a while, and then it has that backup again."""
        copy = self.folder / f"backup-{time.monotonic_ns()}"
        rmm("store", "backup", str(copy), "--config", str(self.hub_config))
        with self._during("hub restored", seconds, []):
            pass
        self.hub.stop()
        rmm("store", "restore", str(copy), "--force", "--config", str(self.hub_config))
        self.hub.start()
        shutil.rmtree(copy)

    def outage(self, seconds: float, count: int) -> float:
        """The links of so many sites are cut for a long time; returns how long they took to catch up, in seconds."""
        sites = self.random.sample(list(self.sites.values()), min(count, len(self.sites)))
        chosen = [one for own in sites for one in own]
        with self._during("links cut", seconds, chosen):
            for one in chosen:
                one.link.cut()
        mended, began = datetime.now(UTC), time.monotonic()
        for one in chosen:
            one.link.mend()
        for one in chosen:
            wait_for(f"{one.name} has caught up", lambda one=one: one.settled(mended), 2 * seconds + 120)
        return time.monotonic() - began

    def kills(self, rounds: int) -> None:
        """kill -9 of a collector, the hub, the broker or the hub's database, by chance, again and again."""
        for number in range(1, rounds + 1):
            victim = self.random.choices(("collector", "hub", "broker", "database"), (6, 3, 2, 2))[0]
            if victim == "database" and self._database is None:
                victim = "hub"  # whose file is its database
            self.faults[f"{victim} killed"] += 1
            self._kill(victim)
            time.sleep(self.random.uniform(0.2, 1.5))
            if number % 20 == 0:
                self.say(f"{number} of {rounds} kills")

    def _kill(self, victim: str) -> None:
        if victim == "database" and self._database is not None:
            self._database.stop(signal.SIGQUIT)  # its processes end at once, as in a crash
            time.sleep(self.random.uniform(0.1, 1.0))
            self._database.start()
            return
        process = {"hub": self.hub, "broker": self.broker}.get(victim) or self.some(0.0)[0].process
        process.kill()
        time.sleep(self.random.uniform(0.1, 1.0))
        process.start()

    @contextlib.contextmanager
    def _during(self, what: str, seconds: float, chosen: list[Collector]) -> Iterator[list[Collector]]:
        self.faults[what] += 1
        names = ", ".join(one.name for one in chosen)
        self.say(f"{what} for {seconds:.0f} s" + (f": {names}" if names else ""))
        yield chosen
        time.sleep(seconds)

    def plan(self) -> list[Callable[[float], None]]:
        """All kinds of faults, in an order by chance."""
        kinds: list[Callable[[float], None]] = [
            self.cut, self.slow, self.kill_collectors, self.pause_collectors, self.kill_broker, self.kill_hub,
            self.step_clocks,
        ]  # fmt: skip
        if self._database is None:  # else its backup is the administrator's
            kinds.append(self.restore_hub)
        self.random.shuffle(kinds)
        return kinds
