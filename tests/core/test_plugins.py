"""A plugin whose package is absent or broken is an error that says so, with what to do."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from rmm.errors import UnsupportedError
from rmm.plugins import build


class Loader:
    """Finds one package, and raises when it is loaded."""

    def __init__(self, name: str, error: Exception) -> None:
        self._name = name
        self._error = error

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == self._name:
            raise self._error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("cannot import name 'x' from 'pypsrp'"), "cannot import name 'x'"),
        (OSError("libkrb5.so.3: cannot open shared object file"), "libkrb5.so.3"),
        (SyntaxError("invalid syntax"), "invalid syntax"),
        (ModuleNotFoundError("No module named 'pypsrp'", name="pypsrp"), "needs pypsrp, which is not installed"),
    ],
)
def test_a_broken_package(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pypsrp" or name == "rmm.transports.pypsrp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Loader("pypsrp", error), *sys.meta_path])
    with pytest.raises(UnsupportedError) as caught:
        build("transports", "pypsrp", gate=None, settings=None, owner="x")
    assert said in str(caught.value)
    assert (caught.value.code, caught.value.status) == ("missing.package", "CONFIG")
    assert caught.value.hint
