"""A KDC for the whole run, and others for tests that stop theirs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kdc import Kdc, missing


@pytest.fixture(scope="session")
def kdc_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    if reason := missing():
        pytest.skip(reason)
    one = Kdc(tmp_path_factory.mktemp("kdc"))
    yield one
    one.stop()


@pytest.fixture
def kdc(kdc_of_the_run: Kdc, monkeypatch: pytest.MonkeyPatch) -> Kdc:
    """Running, with the environment pointing at it."""
    for name, value in kdc_of_the_run.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KRB5CCNAME", raising=False)
    return kdc_of_the_run


@pytest.fixture
def own_kdc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Kdc]]:
    """KDCs of this test alone, which it may stop."""
    if reason := missing():
        pytest.skip(reason)
    made: list[Kdc] = []

    def make(**options: Any) -> Kdc:
        made.append(Kdc(tmp_path / f"kdc{len(made)}", **options))
        for name, value in made[-1].environment.items():
            monkeypatch.setenv(name, value)
        return made[-1]

    yield make
    for one in made:
        one.stop()
