"""The configuration that a site fetches from the hub: verified, tried, switched to in one step, undone if it fails.

Below `bundles/` of the configuration folder:

    7/, 8/        the files of the two newest that were used
    active        the number of the one that counts: the only thing that is ever replaced
    state.json    the highest number that was ever taken, what was refused and why, how many rounds are still a trial

A crash leaves the pointer as it was or as it should be, and both folders that it may name are whole. What is refused is
noted before the pointer goes back, so that `recover` finishes what a crash has interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from rmm.core.bundles import Verify, open_bundle
from rmm.durable import hold, replace_file
from rmm.errors import BusError, ConfigError, EnvelopeError, LeaseLost, RmmError, TierError, VaultError
from rmm.model.bundle import CHUNK, CURRENT, MOST_BYTES, NONE, PART, Answer, Bundle, Question
from rmm.ports import Bus
from rmm.settings.places import ACTIVE, BUNDLES, LOCAL, VAULT, active_version
from rmm.settings.unpacking import remove, tidy, unpack

log = logging.getLogger(__name__)

STATE = "state.json"
TRIAL = 3  # rounds after which a new configuration is no trial any more
ANSWER_S = 20.0
PAUSE_S = 1.5  # between parts, when the site has had its share of a second's answers (`rmm.bus.jetstream.SHARE`)
MOST_ANSWER = 512 << 10  # bytes of one answer
MOST_CHANGES = 3  # of what is fetched, while it is fetched; then it is asked for later
MOST_PARTS = 4 * MOST_BYTES // CHUNK  # that are asked for in one go
WAIT_S = 30.0  # for another process that looks after the bundles
TOLD = 300  # characters of a reason

Check = Callable[[Path], Sequence[str]]
Digest = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]


class Refused(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version that is not used, and why. `local`: what the site's own files were then; with others it may fit."""

    version: int
    why: str
    local: str = ""


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What outlives the process. `digests`: version, as text, -> hex digits, of the highest and of those in use.

    `refusals`: of what the hub sent, ever.
    """

    highest: int = 0
    digests: dict[str, Digest] = {}
    refused: Refused | None = None
    trial: int = 0
    refusals: int = 0


class _Partial(msgspec.Struct):
    """What has been fetched of a version."""

    version: int
    total: int
    data: bytearray


class Bundles:
    """The bundles of one site collector. One coroutine at a time uses it.

    Args:
        folder: the configuration folder.
        site: whose bundle it must be.
        verify: whether the hub has signed (data, signature).
        check: loads the configuration with the bundle in this folder, as it would be used; raises RmmError where it
            cannot be used, and returns what is worth telling. It is called in a thread.
        refused: told once of every bundle that is refused, for the audit log.
    """

    def __init__(
        self, folder: Path, site: str, *, verify: Verify, check: Check, refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder = folder
        self._place = folder / BUNDLES
        self._site = site
        self._verify = verify
        self._check = check
        self._refused = refused
        self._partial: _Partial | None = None
        self._fetching = ""  # why the last fetch came to nothing
        self._notes: tuple[str, ...] = ()  # what the check of the active one told
        self._told = ""

    @property
    def running(self) -> str:
        """For `Beat.bundle`: the version that counts; empty where there is none."""
        with contextlib.suppress(ConfigError):
            version = active_version(self._folder)
            return str(version) if version else ""
        return ""

    @property
    def refusals(self) -> int:
        """For `Beat.refused`: how often something was refused, ever."""
        return self._state().refusals

    @property
    def problems(self) -> tuple[str, ...]:
        """For `Beat.problems`: why the newest is not used, and what of the active one is not heeded."""
        refused = self._state().refused
        why = (f"configuration {refused.version} is refused: {refused.why}",) if refused is not None else ()
        return (*why, *((self._fetching,) if self._fetching else ()), *self._notes)

    def recover(self) -> None:
        """Finish what a crash has interrupted; before the configuration is loaded. Raises RmmError where it cannot."""
        with self._alone():
            tidy(self._place)
            state, version = self._state(), active_version(self._folder)
            if not version:
                return
            lost = not (self._place / str(version)).is_dir()
            if lost or (state.refused is not None and state.refused.version == version):
                before = self._before(version, state)
                if before:
                    what = "lost" if lost else "refused"
                    log.warning("configuration %d counts again; %d is %s", before, version, what)
                    self._point(before)
                elif lost:
                    (self._place / ACTIVE).unlink()

    async def pull(self, bus: Bus) -> bool:
        """Ask the hub, and use what is newer. True when another configuration counts from now on: load it.

        Nothing is raised but cancellation: a site polls on with what it has, and `problems` says what is wrong.
        """
        try:
            data = await self._fetch(bus)
            self._fetching = ""
            return data is not None and await asyncio.to_thread(self._take, data)
        except BusError as error:
            self._fetching = f"the configuration cannot be fetched: {error.told}"
        except EnvelopeError as error:
            self._partial = None
            self._fetching = str(error)
            try:
                await asyncio.to_thread(self._count_one)
            except RmmError as failed:
                log.warning("%s", failed)
            self._say(str(error))
        except RmmError as error:
            self._fetching = f"the configuration cannot be kept: {error.told}"
            log.warning("%s", self._fetching)
        return False

    def tried(self, error: RmmError | None, bundle: str | None = None) -> bool:
        """A round has ended, with this error or without. True when the configuration before counts again: load it.

        A configuration or vault that does not fit, in one of the first rounds, is the new configuration's fault, also
        where it was found good before. Everything else (a full disk, endpoints that are down) is not.

        `bundle`: `Settings.bundle` of the round. One that began before the newest came says nothing of that. It does
        not wait for a `pull` that is at work: then the next round says it.
        """
        if not self._state().trial or (bundle is not None and Path(bundle).name != self.running):
            return False
        try:
            if isinstance(error, ConfigError | VaultError):
                return self.roll_back(str(error), wait_s=0.0)
            if error is None:
                with self._alone(0.0):
                    state = self._state()
                    self._save(msgspec.structs.replace(state, trial=max(0, state.trial - 1)))
        except (LeaseLost, TierError) as failed:  # the next round tries it again
            log.warning("%s", failed)
        return False

    def roll_back(self, why: str, *, wait_s: float = WAIT_S) -> bool:
        """Use the configuration before, and this one not any more. False where there is none before it.

        Raises LeaseLost when another thread or process looks after the bundles for longer than `wait_s`.
        """
        with self._alone(wait_s):
            state, version = self._state(), active_version(self._folder)
            before = self._before(version, state)
            if not version or not before:
                return False
            self._refuse(version, why, msgspec.structs.replace(state, trial=0))
            self._point(before)
            self._remove(version)
        return True

    async def _fetch(self, bus: Bus) -> bytes | None:
        """The newest bundle as the hub has it; None where the site has it. A part survives a lost link."""
        changes = 0
        for _ in range(MOST_PARTS):
            question = self._question()
            answer = await self._ask(bus, question)
            if answer.state == NONE:
                raise BusError(f"the hub has none for {self._site}: {answer.why[:TOLD]}", code="bus.nobody")
            if answer.state != PART:
                self._partial = None
                changes += 1
                if answer.state == CURRENT or changes > MOST_CHANGES:
                    return None
            elif (whole := self._add(question, answer)) is not None:
                return whole
        raise EnvelopeError("the parts of the bundle are too many", code="envelope.size")

    def _question(self) -> Question:
        state, running = self._state(), active_version(self._folder)
        refused = state.refused
        # What did not fit is not asked for again, until the site's own part is another: then it may fit.
        version = max(running, refused.version) if refused and refused.local == self._local() else running
        digest = bytes.fromhex(state.digests.get(str(version), ""))
        partial = self._partial
        if partial is None:
            return Question(version=version, digest=digest)
        return Question(version=version, digest=digest, wanted=partial.version, offset=len(partial.data))

    async def _ask(self, bus: Bus, question: Question) -> Answer:
        subject = f"rmm.ask.{self._site}.bundle"
        asked = msgspec.msgpack.encode(question)
        try:
            data = await bus.ask(subject, asked, timeout_s=ANSWER_S)
        except BusError as error:
            if error.code != "bus.nobody" or self._partial is None:
                raise
            await asyncio.sleep(PAUSE_S)  # somebody has just answered: of so many questions no more are heard
            data = await bus.ask(subject, asked, timeout_s=ANSWER_S)
        try:
            if len(data) > MOST_ANSWER:
                raise EnvelopeError(f"an answer of {len(data)} bytes", code="envelope.size")
            return msgspec.msgpack.decode(data, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EnvelopeError(f"the answer about a bundle is not what it should be: {error}") from error

    def _add(self, question: Question, answer: Answer) -> bytes | None:
        """One more part; the whole where it was the last one."""
        partial = self._partial or _Partial(answer.version, answer.total, bytearray())
        fits = len(partial.data) + len(answer.data) <= partial.total <= MOST_BYTES
        if not answer.data or not fits or (answer.version, answer.total) != (partial.version, partial.total):
            raise EnvelopeError("the parts of the bundle do not go together", code="envelope.size")
        if answer.version <= question.version:
            raise EnvelopeError(
                f"the bundle is refused: {answer.version} is not newer than {question.version}", code="envelope.old"
            )
        partial.data += answer.data
        self._partial = partial
        if len(partial.data) < partial.total:
            return None
        self._partial = None
        return bytes(partial.data)

    def _take(self, data: bytes) -> bool:
        bundle = open_bundle(data, self._site, self._verify)
        with self._alone():
            state, running = self._state(), active_version(self._folder)
            floor = max(running + 1, state.highest)
            known = state.digests.get(str(bundle.version)) or bundle.digest.hex()
            if bundle.version < floor or known != bundle.digest.hex():
                raise EnvelopeError(
                    f"the bundle is refused: version {bundle.version} is older than what this site had",
                    code="envelope.old",
                    hint="Somebody plays an old one again, or two hubs number the bundles of this site.",
                )
            return self._use(bundle, state, running)

    def _use(self, bundle: Bundle, state: State, running: int) -> bool:
        """Unpack, try, switch. False where it cannot be used; then nothing has changed but what is noted."""
        kept = {str(running): state.digests.get(str(running), "")} if running else {}
        digests = {**kept, str(bundle.version): bundle.digest.hex()}
        state = State(highest=bundle.version, digests=digests, trial=state.trial, refusals=state.refusals)
        place = self._place / str(bundle.version)
        unpack(place, bundle.files)
        try:
            notes = tuple(self._check(place))
        except Exception as error:  # whatever it makes the reading of it run into: what is used now goes on
            why = str(error) if isinstance(error, RmmError) else f"{type(error).__name__} while it was read: {error}"
            self._refuse(bundle.version, why, state)
            self._remove(bundle.version)
            return False
        self._save(msgspec.structs.replace(state, trial=TRIAL))
        self._point(bundle.version)
        self._notes = notes
        self._forget(bundle.version, running)
        log.info("configuration %d of %s counts", bundle.version, bundle.made_at.isoformat(timespec="seconds"))
        return True

    def _refuse(self, version: int, why: str, state: State) -> None:
        shown = why if len(why) <= TOLD else why[: TOLD - 3] + "..."
        refused = Refused(version, shown, self._local())
        self._save(msgspec.structs.replace(state, refused=refused, refusals=state.refusals + 1))
        self._say(f"configuration {version} is refused: {why}")

    def _count_one(self) -> None:
        with self._alone():
            state = self._state()
            self._save(msgspec.structs.replace(state, refusals=state.refusals + 1))

    def _say(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.error("%s", why)
            self._refused(why)

    def _local(self) -> str:
        """What tells that the site's own part has changed: what did not fit may fit then."""
        found = []
        for name in (LOCAL, VAULT):
            try:
                facts = (self._folder / name).stat()
            except OSError:
                found.append("-")
            else:
                found.append(f"{facts.st_mtime_ns}.{facts.st_size}")
        return " ".join(found)

    def _state(self) -> State:
        path = self._place / STATE
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("%s: cannot be read, and is made anew: %s", path, error)
        with contextlib.suppress(ConfigError):
            return State(highest=active_version(self._folder))
        return State()

    def _save(self, state: State) -> None:
        replace_file(self._place / STATE, msgspec.json.encode(state), private=True)

    def _point(self, version: int) -> None:
        replace_file(self._place / ACTIVE, f"{version}\n".encode())

    def _before(self, version: int, state: State) -> int:
        """The newest kept one below a version; 0 where there is none."""
        bad = state.refused.version if state.refused is not None else 0
        return max((one for one in self._kept() if one < version and one != bad), default=0)

    def _kept(self) -> list[int]:
        names = [path.name for path in self._place.glob("[1-9]*") if path.is_dir()]
        return [int(name) for name in names if name.isascii() and name.isdigit()]

    def _forget(self, *needed: int) -> None:
        for version in self._kept():
            if version not in needed:
                self._remove(version)

    def _remove(self, version: int) -> None:
        try:
            remove(self._place / str(version))
        except OSError as error:  # on Windows somebody may have a file open: the next one takes it away
            log.info("%s: stays for now: %s", self._place / str(version), error)

    def _alone(self, wait_s: float = WAIT_S) -> contextlib.AbstractContextManager[None]:
        return hold(self._place / ".lock", f"the configuration of {self._folder}", timeout_s=wait_s)
