"""A hub, a broker, sites with their collectors and lab endpoints behind them: built, broken, mended and compared."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rmm.site.control import read_status
from tests.fleet import pieces
from tests.fleet.pieces import Lab, Link, Process, rmm, wait_for
from tests.postgres.cluster import Cluster

Say = Callable[[str], None]


class Site:
    """One site with its one collector and its link."""

    def __init__(self, name: str, folder: Path, link: Link, process: Process) -> None:
        self.name = name
        self.config = folder
        self.link = link
        self.process = process

    @property
    def data(self) -> Path:
        return self.config / "data"

    def settled(self, since: datetime | None = None) -> bool:
        """Whether it has polled (since then), and the hub has committed all of it."""
        known = read_status(self.data)
        if known is None or known.beat.polled_at is None or known.beat.spooled:
            return False
        return since is None or (known.beat.at > since and known.beat.polled_at > since)


class Verdict(NamedTuple):
    """What became of one site's observations."""

    site: str
    observed: int  # by its collector, as its own history has them
    arrived: int  # of these, at the hub
    lost: int
    doubled: int  # at the hub, and not at the site
    equal: bool  # the checksums of both histories


class Fleet:
    """Use it as a context manager; everything ends with it."""

    def __init__(
        self, folder: Path, *, sites: int, endpoints: int, seed: int, say: Say, rules: str = "",
        database: Cluster | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.random = random.Random(seed)
        self.say = say
        self._names = {f"site-{number:02d}": endpoints for number in range(1, sites + 1)}
        self.hub_config = folder / "hub"
        self._rules = rules
        self._database = database
        self.sites: dict[str, Site] = {}
        self.faults: Counter[str] = Counter()

    def __enter__(self) -> Fleet:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        processes = [site.process for site in self.sites.values()]
        processes += [one for one in (getattr(self, "hub", None), getattr(self, "broker", None)) if one]
        if lab := getattr(self, "lab", None):
            processes.append(lab.process)
        pieces.tidy(processes)
        for site in self.sites.values():
            site.link.close()

    def _build(self) -> None:
        self.lab = Lab(self.folder, sum(self._names.values()))
        self.say(f"lab: {sum(self._names.values())} endpoints")
        self.port = pieces.free_port()
        hub: dict[str, Any] = {"urls": [f"tls://{pieces.HOST}:{self.port}"], "silent_after": 20}
        if self._database is not None:
            hub["database"] = self._database.url()
        pieces.configure(self.hub_config, self.lab, self._names, {"hub": hub})
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
        with ThreadPoolExecutor(4) as threads:
            self.sites |= zip(self._names, threads.map(self._enroll, self._names), strict=True)
        self.say(f"broker and hub run; {len(self.sites)} sites are enrolled")
        for site in self.sites.values():
            site.process.start()

    def _command(self, what: str, config: Path) -> list[str]:
        words = [what, "run", "--config", str(config), "--passphrase-file", str(config / "passphrase")]
        return [sys.executable, "-m", "rmm", *words]

    def _enroll(self, name: str) -> Site:
        link = Link(self.port)
        url = f"tls://{pieces.HOST}:{link.port}"
        token = rmm("hub", "invite", name, "--config", str(self.hub_config)).strip().splitlines()[-1]
        config = self.folder / name
        pieces.vault_of(self.lab, config)
        rmm("site", "enroll", token, "--url", url, "--config", str(config))
        return Site(name, config, link, Process(name, self._command("site", config), self.folder / f"{name}.log"))

    @property
    def hub_data(self) -> Path:
        return self.hub_config / "data"

    def settled(self, wait_s: float) -> float:
        """Wait until nothing waits at any site; returns the seconds."""
        began = time.monotonic()
        for site in self.sites.values():
            wait_for(f"{site.name} has handed over what it had", site.settled, wait_s)
        return time.monotonic() - began

    def finish(self) -> list[Verdict]:
        """Drain and end the sites, then the hub; returns what arrived."""
        for site in self.sites.values():
            site.process.signal(signal.SIGCONT)
            site.link.delay_s = 0
            site.link.mend()
        for process in (self.broker, self.hub, *(site.process for site in self.sites.values())):
            if not process.alive:
                process.start()
        for site in self.sites.values():
            rmm("site", "drain", "--config", str(site.config), timeout_s=330)
        if code := self.hub.stop():
            self.say(f"the hub ended with {code}")
        return [self._verdict(site) for site in self.sites.values()]

    def _verdict(self, site: Site) -> Verdict:
        there, here = pieces.seen(self.hub_data, site.name), pieces.seen(site.data, site.name)
        observed = sum(map(len, here.values()))
        lost = sum(len(mine - there.get(name, set())) for name, mine in here.items())
        doubled = sum(len(theirs - here.get(name, set())) for name, theirs in there.items())
        equal = pieces.same(self.hub_data, site.data, site.name)
        return Verdict(site.name, observed, observed - lost, lost, doubled, equal)

    def some(self, share: float = 0.2) -> list[Site]:
        """A few sites by chance, one at least."""
        return self.random.sample(list(self.sites.values()), max(1, round(share * len(self.sites))))

    # The faults, each of which ends by itself.

    def cut(self, seconds: float) -> None:
        """The links of a fifth of the sites."""
        with self._during("links cut", seconds, self.some()) as chosen:
            for site in chosen:
                site.link.cut()
        for site in chosen:
            site.link.mend()

    def slow(self, seconds: float) -> None:
        """Links over which everything takes half a second."""
        with self._during("links slow", seconds, self.some()) as chosen:
            for site in chosen:
                site.link.delay_s = 0.5
        for site in chosen:
            site.link.delay_s = 0.0

    def kill_collectors(self, seconds: float) -> None:
        """kill -9, and started again."""
        with self._during("collectors killed", seconds, self.some()) as chosen:
            for site in chosen:
                site.process.kill()
        for site in chosen:
            site.process.start()

    def pause_collectors(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT."""
        with self._during("collectors paused", seconds, self.some()) as chosen:
            for site in chosen:
                site.process.signal(signal.SIGSTOP)
        for site in chosen:
            site.process.signal(signal.SIGCONT)

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
            for site in chosen:
                site.process.stop()
                site.process.start(**ahead)
        for site in chosen:
            site.process.stop()
            site.process.start()

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
        chosen = self.random.sample(list(self.sites.values()), min(count, len(self.sites)))
        with self._during("links cut", seconds, chosen):
            for site in chosen:
                site.link.cut()
        mended, began = datetime.now(UTC), time.monotonic()
        for site in chosen:
            site.link.mend()
        for site in chosen:
            wait_for(f"{site.name} has caught up", lambda site=site: site.settled(mended), 2 * seconds + 120)
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
    def _during(self, what: str, seconds: float, sites: list[Site]) -> Iterator[list[Site]]:
        self.faults[what] += 1
        names = ", ".join(site.name for site in sites)
        self.say(f"{what} for {seconds:.0f} s" + (f": {names}" if names else ""))
        yield sites
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
