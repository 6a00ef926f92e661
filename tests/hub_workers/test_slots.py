"""Workers that begin at once, again and again, use the same few inboxes."""

from __future__ import annotations

from pathlib import Path

from hubside import FIELDS, FOREVER, Time, observation

from rmm.hub.history import History, Item, Keeping
from rmm.model.observation import encode_observation


async def _nobody(_: object) -> None:
    """Folds nothing."""


async def test_inboxes_do_not_grow_in_number(tmp_path: Path) -> None:
    clock = Time()
    keeping = Keeping(FIELDS, clock.now, FOREVER)
    for number in range(4):
        async with History.open(tmp_path, keeping, _nobody) as one, History.open(tmp_path, keeping, _nobody) as other:
            for site, history in (("berlin", one), ("lyon", other)):
                seen = observation(site, f"{site}-1", clock.now(), number + 1)
                await history.append([Item(site, 0, encode_observation(seen))])
    assert {folder.name for folder in (tmp_path / "spool").glob("*/*/in-*")} == {"in-0", "in-1"}
