"""The excerpt of an answer that could not be read: short, on one line, and without names and secrets."""

from __future__ import annotations

import pytest

from rmm.core.sample import MOST, sample_of
from rmm.model.endpoint import Credential, Secret, Target

TARGET = Target(
    endpoint="srv01", name="SRV01", host="10.1.2.3", port=5985, scheme="http", transport="winrm", auth="ntlm",
    session="new", credential=Credential(name="c", username="CORP\\svc-poll", secret=Secret("Tr0ub4dor&3")),
)  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        '{"collector":"os","host":"SRV01","document":{"os":[{"CSName":"SRV01","SerialNumber":"4C4C4544"',
        "<S>srv01 says CORP\\svc-poll Tr0ub4dor&3 4C4C4544-",
        '<I32 N="SerialNumber">4C4C4544</I32><Q>10.1.2.3 S-1-5-21-1-2-3-1001 Tr0ub4dor&amp;3',
        "10.1.2.3\x00\x1b[2J SRV01 Tr0ub4dor&3 " * 200,
    ],
)
def test_neither_names_nor_secrets_are_in_it_however_malformed_it_is(raw: str) -> None:
    sample = sample_of(raw, TARGET).lower()
    assert not [
        word
        for word in ("srv01", "svc-poll", "tr0ub4dor", "10.1.2.3", "s-1-5-21-1-2-3", "\x1b", "\x00")
        if word in sample
    ]
    assert 10 < len(sample) <= MOST


def test_what_is_wrong_can_still_be_seen() -> None:
    sample = sample_of('{"collector":"os","host":"SRV01","ms":NaN,"document":{}', TARGET)
    assert sample == '{"collector":"os","host":"HOST1","ms":NaN,"document":{}'


def test_a_secret_at_the_end_of_the_excerpt_is_not_cut_in_half() -> None:
    raw = "x" * (MOST - 5) + " Tr0ub4dor&3"
    assert "Tr0" not in sample_of(raw, TARGET)


def test_nothing_to_show_is_nothing() -> None:
    assert sample_of("", TARGET) == ""
