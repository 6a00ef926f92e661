"""Sessions that a transport keeps between polls, at most one per endpoint: lent to a poll, then kept or closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

import msgspec

from rmm.model.endpoint import Target


class Keepable(Protocol):
    """A session that knows what its policy keeps."""

    target: Target

    async def leave(self) -> None:
        """The poll is over: keep what the policy keeps, and end the rest."""
        ...

    async def aclose(self) -> None:
        """Keep nothing."""
        ...


S = TypeVar("S", bound=Keepable)


class Kept(Generic[S]):
    """The sessions of one transport."""

    def __init__(self) -> None:
        self._sessions: dict[str, S] = {}

    @asynccontextmanager
    async def lend(self, target: Target, make: Callable[[], S]) -> AsyncIterator[S]:
        """The endpoint's session, or one that `make` makes. It is closed when it is left by an exception."""
        kept = self._sessions.pop(target.endpoint, None) if target.session != "new" else None
        # What it holds there is no orphan, whatever the notes of visits say of it while it lives.
        if kept is not None and kept.target != msgspec.structs.replace(target, orphans=kept.target.orphans):
            await kept.aclose()
            kept = None
        session = make() if kept is None else kept
        whole = False
        try:
            yield session
            whole = True
        finally:
            # Shielded: a cancelled poll ends what it began on the endpoint all the same.
            leaving = asyncio.ensure_future(session.leave() if whole else session.aclose())
            try:
                await asyncio.shield(leaving)
            except asyncio.CancelledError:
                await leaving
                await session.aclose()
                raise
        if target.session != "new":
            other, self._sessions[target.endpoint] = self._sessions.get(target.endpoint), session
            if other is not None:  # of a poll that overlapped this one
                await other.aclose()

    async def aclose(self) -> None:
        """Close all that is kept. Idempotent."""
        kept, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.aclose() for session in kept))
