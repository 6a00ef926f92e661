"""Parts: strict, bounded, and repaired only where one odd name would cost a whole document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.parts import MAX_PART, read_part
from rmm.errors import OutputError

GOOD = '{"collector":"cpu","host":"SRV01","ms":12.3,"document":{"perf":[{"Name":"_Total","V":18446744073709551615}]}}'


def test_a_document() -> None:
    part = read_part(GOOD)
    assert (part.collector, part.host, part.ms, part.error) == ("cpu", "SRV01", 12.3, None)
    assert part.document == {"perf": [{"Name": "_Total", "V": 2**64 - 1}]}


def test_a_text_that_looks_like_a_key_and_a_key_that_is_not_ours() -> None:
    part = read_part(GOOD.replace("_Total", r"a\":b").replace('"ms":', '"new":1,"ms":'))
    assert part.document["perf"][0]["Name"] == 'a":b'


def test_an_error() -> None:
    text = json.dumps({"id": "X,Y", "category": "NotSpecified", "hresult": -2147217392, "message": "schade"})
    part = read_part('{"collector":"cpu","host":"S","ms":1,"error":' + text + "}")
    assert part.error is not None
    assert str(part.error) == "X,Y (0x80041010): schade"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", GOOD[:-1], GOOD + "x", GOOD.replace("12.3", "NaN"), GOOD.replace("12.3", '"12"'),
        GOOD.replace('"_Total"', '{"deep":1}'), GOOD.replace('"_Total"', "1e999"), GOOD.replace('"cpu"', "null"),
        GOOD.replace("[{", "{").replace("}]", "}"), "[" * 100_000, '{"collector":' + '{"a":' * 100_000,
        GOOD.replace('"_Total"', "[[1]]"),
        GOOD.replace('"V":', '"Name":'), GOOD.replace('"V":', '"V":1,"V":'), GOOD.replace('"ms":', '"ms":1,"ms":'),
        GOOD.replace('"document":', '"document":{},"document":'), GOOD.replace('"perf":', '"perf":[],"perf":'),
        GOOD.replace('"V":', r'"S":"\ud800","V":1,"V":'), GOOD.replace('"ms":', '"x":{"y":1,"y":2},"ms":'),
        GOOD.replace('"ms":', f'"x":{"9" * 5000},"ms":'), GOOD.replace('"ms":', f'"x":{"[" * 2000}{"]" * 2000},"ms":'),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(OutputError):
        read_part(text)


def test_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(OutputError) as caught:
        read_part(GOOD.replace("_Total", "x" * MAX_PART))
    assert caught.value.code == "output.too_large"


@pytest.mark.parametrize(
    ("written", "read"),
    [(r"a\ud800b", "a\ufffdb"), (r"\udc00", "\ufffd"), (r"\ud83d\ude00", "\U0001f600"),
     (r"\\ud800\ud800", "\\ud800\ufffd"),
     (r"\uD800\uD800", "\ufffd\ufffd")],
)  # fmt: skip
def test_a_lone_surrogate_is_replaced(written: str, read: str) -> None:
    assert read_part(GOOD.replace("_Total", written)).document["perf"][0]["Name"] == read


def test_a_raw_surrogate_is_replaced() -> None:
    assert read_part(GOOD.replace("_Total", "a\ud800")).document["perf"][0]["Name"] in ("a\ufffd", "a?")


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    for candidate in (text, GOOD.replace("_Total", text)):
        try:
            read_part(candidate)
        except OutputError:
            continue
