"""The lab's machines by address: names, addresses and kinds of `count` endpoints, each made when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rmm.lab.cim import Cim
from rmm.lab.dice import Dice
from rmm.lab.kinds import LAPTOP, fits, parse_kind, system_of, words
from rmm.lab.profile import Catalogue, Language, load_catalogue, load_schema
from rmm.lab.simulated import LabMachine

PER_BLOCK = 250  # addresses used of each /24


def address_of(index: int) -> str:
    """The address of machine `index`: 127.1.0.1, 127.1.0.2 ... 127.1.0.250, 127.1.1.1 ...

    Never in 127.0.0.0/24. ValueError beyond 127.255.255.250.
    """
    block, low = divmod(index, PER_BLOCK)
    high, middle = divmod(block, 256)
    if index < 0 or high > 254:
        raise ValueError(f"a lab has at most {255 * 256 * PER_BLOCK} machines")
    return f"127.{high + 1}.{middle}.{low + 1}"


def index_of(address: str) -> int | None:
    """The inverse of `address_of`; None for any other text."""
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        return None
    first, high, middle, low = map(int, parts)
    if first != 127 or not 1 <= high <= 255 or middle > 255 or not 1 <= low <= PER_BLOCK:
        return None
    return ((high - 1) * 256 + middle) * PER_BLOCK + low - 1


class LabFleet:
    """All machines of one lab; implements `rmm.lab.machine.Fleet`.

    Equal (`count`, `seed`, `started`) give equal machines. `started` is when the lab began: boot times, and how far
    disks have filled, are counted from it. `profiles` (see `rmm.lab.kinds`) says what there is: one of each first, then
    more of them as the dice fall; without, every operating system. `collectors` are folders of collectors whose samples
    say what is not computed, besides the product's own.
    """

    def __init__(
        self,
        count: int,
        seed: int = 1,
        *,
        started: datetime | None = None,
        profiles: Sequence[str] = (),
        catalogue: Catalogue | None = None,
        collectors: Sequence[Path] = (),
    ) -> None:
        address_of(max(count, 1) - 1)
        self.count, self.seed = count, seed
        self.started = (started or datetime.now(UTC)).timestamp()
        self.catalogue = catalogue or load_catalogue()
        self.cim = Cim(self.catalogue, load_schema(), tuple(collectors))
        self._kinds = [parse_kind(name, self.catalogue) for name in profiles or self.catalogue.systems]
        weights = {name: system.weight for name, system in self.catalogue.systems.items()}
        self._weighted = [kind for kind in self._kinds for _ in range(weights[kind.system])]
        roles = self.catalogue.roles
        most = max(role.weight for role in roles.values())
        self._roles = [name for turn in range(most) for name, role in roles.items() if role.weight > turn]
        self._machines: dict[int, LabMachine] = {}

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[LabMachine]:
        return (self[index] for index in range(self.count))

    def __getitem__(self, index: int) -> LabMachine:
        if not 0 <= index < self.count:
            raise IndexError(index)
        machine = self._machines.get(index)
        if machine is None:
            machine = self._machines[index] = self._make(index)
        return machine

    def machine_at(self, address: str) -> LabMachine | None:
        """The machine that listens on this address."""
        index = index_of(address)
        return self[index] if index is not None and index < self.count else None

    def _make(self, index: int) -> LabMachine:
        dice = Dice(self.seed, index, "kind")
        # The first machines are one of each system, so that a small lab shows all of them.
        kind = self._kinds[index] if index < len(self._kinds) else dice.pick(self._weighted)
        profile = system_of(kind, self.catalogue)
        language = self.catalogue.languages[kind.language] if kind.language else self._language(index)
        models = [model for model in self.catalogue.models(profile.kind) for _ in range(model.weight)]
        model = dice.pick([model for model in models if fits(kind, model)])
        role = (kind.role or dice.pick(self._roles)) if profile.kind == "server" else ""
        if profile.kind == "client":
            prefix = "NB" if model.chassis == LAPTOP else "PC"
        else:
            prefix = f"SRV{profile.name.removeprefix('server20')}{self.catalogue.roles[role].prefix}"
        known = kind._replace(role=role)
        return LabMachine(
            self.cim,
            seed=self.seed,
            index=index,
            name=f"{prefix}-{index + 1:05d}",
            address=address_of(index),
            role=role,
            profile=profile,
            condition=kind.condition,
            words=words(known, language, self.catalogue),
            language=language,
            model=model,
            started=self.started,
            may_stop=self.catalogue.may_stop,
        )

    def _language(self, index: int) -> Language:
        """Every 25 machines hold two German and one Japanese."""
        return self.catalogue.languages[{4: "de", 9: "ja", 16: "de"}.get(index % 25, "en")]
