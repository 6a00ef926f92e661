"""PowerShell processes that were started before anybody asks, and how many there may be."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from rmm.lab.pwsh.process import SERVER, LostError, Process, spawn


class FullError(Exception):
    """As many processes are in use as there may be."""


class Pool:
    """Processes in server mode.

    At most `most` are in use; up to `spare` more wait, so that a client need not wait for PowerShell's start (about
    0.4 s of processor time). Processes are used once.
    """

    def __init__(
        self, program: str, environment: Mapping[str, str], folder: Path, *, spare: int = 2, most: int = 16
    ) -> None:
        self.program = program
        self.environment = dict(environment)
        self.most = most
        self.used = 0
        self.started = 0  # over the run
        self._folder = folder
        self._wanted = spare
        self.waiting: deque[Process] = deque()
        self._numbers = itertools.count(1)
        self._filling: asyncio.Task[None] | None = None

    def reserve(self) -> None:
        """Take one place. Raises FullError; otherwise `release` gives it back."""
        if self.used >= self.most:
            raise FullError
        self.used += 1

    def release(self) -> None:
        """Give a place back."""
        self.used -= 1
        self.fill()

    def new_folder(self) -> Path:
        """For the state of one process."""
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        return folder

    async def take(self) -> Process:
        """A process for whoever has a place. Raises LostError when PowerShell does not start."""
        process = None
        while self.waiting and process is None:
            first = self.waiting.popleft()
            if first.alive:
                process = first
            else:
                await first.end()
        self.fill()
        return process or await self._start()

    def fill(self) -> None:
        """See to it that enough processes wait."""
        if self._filling is None or self._filling.done():
            self._filling = asyncio.ensure_future(self._fill())

    async def _fill(self) -> None:
        while len(self.waiting) < self._wanted:
            try:
                self.waiting.append(await self._start())
            except LostError:
                return  # who needs one is told

    async def _start(self) -> Process:
        folder = self.new_folder()
        self.started += 1
        return Process(await spawn([self.program, SERVER], self.environment, folder), folder)

    async def aclose(self) -> None:
        """End those that wait."""
        self._wanted = 0
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        await asyncio.gather(*(process.end() for process in self.waiting))
        self.waiting.clear()
