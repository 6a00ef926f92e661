import pytest

from rmm.core.identity import mismatch


@pytest.mark.parametrize(
    ("expected", "known", "seen", "wrong"),
    [
        ("SRV01", {}, "srv01", False),
        ("srv01.corp.example", {}, "SRV01", False),
        ("a-very-long-server-name", {}, "A-VERY-LONG-SER", False),
        ("SRV01", {}, "SRV02", True),
        ("SRV01", {}, "", False),
        ("10.0.0.7", {}, "SRV07", False),
        ("10.0.0.7", {"name": "SRV07"}, "SRV07", False),
        ("10.0.0.7", {"name": "SRV07"}, "SRV08", True),
        ("fe80::1", {"name": "SRV07"}, "SRV08", True),
    ],
)
def test_another_machine_is_noticed(expected: str, known: dict[str, str], seen: str, wrong: bool) -> None:
    assert bool(mismatch(expected, known, {"name": seen})) is wrong
