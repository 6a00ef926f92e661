"""The bundles of all sites: made when the configuration has changed, numbered, signed, kept, and handed out in parts.

What was made is kept in files of the hub's configuration folder and not in its database: a database that is restored
from a backup must not make the numbers go back. A site that has seen a higher number than the hub knows of says so, and
the next one is higher still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from rmm import __version__
from rmm.core.bundles import Sign, digest_of, encode_files, open_bundle, seal_bundle
from rmm.durable import hold, replace_file
from rmm.errors import ConfigError, EnvelopeError, RmmError
from rmm.hub.share import Configuration, Shared, Stamp, stamp
from rmm.model.bundle import CHANGED, CHUNK, CURRENT, HIGHEST, MOST_BYTES, NONE, PART, Answer, Bundle, Question
from rmm.settings.load import load_settings
from rmm.settings.unpacking import unpack

log = logging.getLogger(__name__)

FOLDER = Path("hub", "bundles")  # in the configuration folder
KEPT = 2
EVERY_S = 5.0  # between two looks at whether the configuration has changed
SETTLED_S = 2.0  # that it must have been as it is: whoever writes a file may be in the middle of it
JUMP = 10_000  # a site may be so many versions ahead of a hub that lost some: no site can use up the numbers
WAIT_S = 30.0  # for another process that makes bundles
MOST_QUESTION = 1000
_SUBJECT = re.compile(r"rmm\.ask\.([a-z0-9_-]{1,64})\.bundle\Z")

Reply = Callable[[str, bytes], Awaitable[bytes]]


class Made(NamedTuple):
    """A bundle that is there to be fetched."""

    version: int
    digest: bytes
    path: Path
    total: int


class Bundles:
    """The newest bundle of each site. Its methods may take a second, and are called from one thread after another.

    `folder`: the hub's configuration folder. `sign`: by the hub's key. `now`: by its clock.
    """

    def __init__(
        self,
        folder: Path,
        sign: Sign,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        every_s: float = EVERY_S,
        settled_s: float = SETTLED_S,
    ) -> None:
        self._folder = folder
        self._state = folder / FOLDER
        self._sign = sign
        self._now = now
        self._every = every_s
        self._settled = settled_s
        self._changed: tuple[Stamp, float] = ((), 0.0)  # what it is now, and since when
        self._looked = -1e9
        self._stamp: Stamp = ()
        self._configuration: Configuration | None = None
        self._made: dict[str, Made] = {}
        self._checked: set[str] = set()  # sites whose bundle is that of the configuration as it is now
        self._guard = threading.Lock()
        self.problems: dict[str, str] = {}  # site, or nothing for all -> why its bundle is an older one

    def answer(self, site: str, question: Question) -> Answer:
        """What a site that asks is told. Raises RmmError where that cannot be known now."""
        with self._guard:
            made = self._newest(site)
            if made is None:
                return Answer(state=NONE, why=self.problems.get(site) or self.problems.get("") or "no such site")
            if question.version > made.version + JUMP:
                return Answer(state=NONE, why=f"version {question.version} is far beyond the hub's {made.version}")
            other = question.version == made.version and question.digest not in (b"", made.digest)
            if question.version > made.version or other:
                log.warning("%s: has configuration %d, of which the hub knows nothing", site, question.version)
                made = self._make(site, question.version + 1)
            if question.version == made.version:
                return Answer(state=CURRENT, version=made.version)
            return self._part(site, made, question)

    def _part(self, site: str, made: Made, question: Question) -> Answer:
        """The part that is asked for; of the one before as well, as long as it is kept: a slow link gets to its end."""
        version = question.wanted or made.version
        path = made.path if version == made.version else self._state / site / f"{version}.bundle"
        try:
            with path.open("rb") as file:
                total = path.stat().st_size
                file.seek(question.offset)
                data = file.read(CHUNK)
        except (OSError, ValueError):
            self._checked.discard(site)
            return Answer(state=CHANGED, version=made.version)
        if not data or version <= question.version:
            return Answer(state=CHANGED, version=made.version)
        return Answer(state=PART, version=version, total=total, data=data)

    def _newest(self, site: str) -> Made | None:
        """The site's bundle, as the configuration is now; the last good one while the configuration has mistakes."""
        self._look()
        if site not in self._checked:
            configuration = self._configuration
            if configuration is not None and site not in configuration.settings.sites:
                self._made.pop(site, None)
                return None
            try:
                if configuration is not None:
                    self._made[site] = self._make(site, 0)
                    self.problems.pop(site, None)
                elif (last := self._last(site)) is not None:
                    self._made[site] = last
            except (ConfigError, EnvelopeError) as error:
                self._note(site, error)
                if (last := self._last(site)) is not None:
                    self._made[site] = last
            self._checked.add(site)
        return self._made.get(site)

    def _look(self) -> None:
        """Read the configuration anew where something of it has changed."""
        if time.monotonic() - self._looked < self._every:
            return
        self._looked = time.monotonic()
        others = tuple(self._configuration.files()) if self._configuration is not None else ()
        found = stamp(self._folder, others)
        if found == self._stamp:
            return
        if found != self._changed[0]:
            self._changed = (found, self._looked)
        if self._configuration is not None and self._looked - self._changed[1] < self._settled:
            return
        try:
            self._configuration = Configuration.read(self._folder)
            self.problems.clear()
            self._checked.clear()
            others = tuple(self._configuration.files())
        except ConfigError as error:
            self._note("", error)
            self._looked = time.monotonic()
        self._stamp = stamp(self._folder, others)

    def _note(self, site: str, error: RmmError) -> None:
        """Once per change: a configuration with a mistake is looked at again when it has changed."""
        self.problems[site] = str(error)
        who = f"the site {site}" if site else "sites"
        log.error("%s: %s go on with the configuration that they have: %s", self._folder, who, error)

    def _make(self, site: str, least: int) -> Made:
        """The bundle of the configuration as it is now, the one that there is where nothing changed.

        Its version is `least` or more.
        """
        configuration = self._configuration
        if configuration is None:
            raise ConfigError(self.problems.get("") or f"{self._folder}: cannot be read")
        shared = configuration.of(site)
        digest = digest_of(encode_files(shared.files))
        with hold(self._state / ".lock", "the making of bundles", timeout_s=WAIT_S):
            last = self._last(site)
            if last is not None and last.digest == digest and last.version >= least:
                return last
            proved(shared)
            version = max(least, 1 + max(self._numbers(site), default=0))
            if version > HIGHEST:
                raise EnvelopeError(f"{site}: there is no version {version}", code="envelope.format")
            bundle = Bundle(
                site=site, version=version, digest=digest, made_at=self._now(), program=__version__, files=shared.files
            )
            data = seal_bundle(bundle, self._sign)
            made = Made(version, digest, self._path(site, version), len(data))
            replace_file(made.path, data, private=True)
            self._forget(site)
        log.info("%s: configuration %d, %d files, %d bytes", site, version, len(shared.files), len(data))
        self._made[site] = made
        for text in shared.left_out:
            log.info("%s: configuration %d is without %s", site, version, text)
        return made

    def _last(self, site: str) -> Made | None:
        """The newest one on disk that is whole and signed by the key of today."""
        for version in sorted(self._numbers(site), reverse=True):
            path = self._path(site, version)
            try:
                with path.open("rb") as file:
                    data = file.read(MOST_BYTES + 1)
                bundle = open_bundle(data, site, lambda signed, signature: self._sign(signed) == signature)
            except (OSError, EnvelopeError) as error:
                log.warning("%s: %s: the configuration of the site gets a new number", path, error)
                return None
            return Made(version, bundle.digest, path, len(data)) if bundle.version == version else None
        return None

    def _path(self, site: str, version: int) -> Path:
        return self._state / site / f"{version}.bundle"

    def _numbers(self, site: str) -> list[int]:
        """Versions of which there are files, whatever is in them."""
        names = [path.stem for path in (self._state / site).glob("*.bundle")]
        return [int(name) for name in names if re.fullmatch("[1-9][0-9]{0,15}", name, re.ASCII)]

    def _forget(self, site: str) -> None:
        for version in sorted(self._numbers(site), reverse=True)[KEPT:]:
            with contextlib.suppress(OSError):
                self._path(site, version).unlink()


def bundle_answers(bundles: Bundles) -> Reply:
    """What `bus.answer("rmm.ask.*.bundle", ...)` takes. A question that makes no sense gets an answer that says so."""
    turn = asyncio.Lock()

    async def reply(subject: str, data: bytes) -> bytes:
        found = _SUBJECT.match(subject)
        try:
            question = msgspec.msgpack.decode(data, type=Question) if len(data) <= MOST_QUESTION else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            question = None
        if found is None or question is None or not _plausible(question):
            return msgspec.msgpack.encode(Answer(state=NONE, why="the question is not understood"))
        try:
            async with turn:
                answer = await asyncio.to_thread(bundles.answer, found[1], question)
        except RmmError as error:
            log.warning("%s: its configuration cannot be handed out: %s", found[1], error)
            answer = Answer(state=NONE, why=f"the hub cannot say now: {error.code}")
        return msgspec.msgpack.encode(answer)

    return reply


def _plausible(question: Question) -> bool:
    numbers = (question.version, question.wanted)
    return all(0 <= one < HIGHEST for one in numbers) and 0 <= question.offset <= MOST_BYTES


def preview(folder: Path, site: str) -> Shared:
    """What a site would get of a configuration folder as it is now. Nothing is numbered or kept.

    Raises ConfigError where the configuration is wrong, or has no such site.
    """
    shared = Configuration.read(folder).of(site)
    proved(shared)
    return shared


def proved(shared: Shared) -> None:
    """ConfigError where a site could not load this: what was made of a right configuration has to be right."""
    with tempfile.TemporaryDirectory(prefix="rmm-bundle-") as name:
        place = Path(name, "bundles", "1")
        unpack(place, shared.files)
        load_settings(Path(name), bundle=place)
