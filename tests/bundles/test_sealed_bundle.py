"""A bundle as an enemy would make it: signed by another key, for another site, with hostile names, sizes and bytes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from bundling import NOW, Key, bundle_of
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.bundles import open_bundle, seal_bundle
from rmm.core.filenames import unfit_name
from rmm.errors import EnvelopeError
from rmm.model.bundle import BUNDLE_CONTEXT, MOST_BYTES, SCHEMA, Sealed

HOSTILE = [
    "../rmm.yaml", "..", ".", "", "/etc/passwd", "rules/../../x", "a/./b", "a//b", "a/", "C:\\x", "C:/x", "c:",
    "a\\..\\b",
    "\\\\server\\share", "//server/share", "rmm.yaml:stream", "con", "CON.yaml",
    "rules/nul", "aux.a.b", "com1", "lpt9.txt",
    "a.", "a ", " a", "a./b", ".hidden", "rules/.x", "a\x00b", "a\nb", "~/x", "$HOME", "%APPDATA%", "a*", "a?", "ä",
    "a/b" * 40,
    "a" * 65, "1/2/3/4/5/6/7", "…/x", "a\u202eb", "файл", "-/..", "..\\x", "a/..\\b",
]  # fmt: skip


def raw(key: Key, files: Any = None, *, body: bytes | None = None, size: int | None = None, **changes: Any) -> bytes:
    """A signed bundle of whatever is given."""
    plain = msgspec.msgpack.encode({"rmm.yaml": b"x"} if files is None else files)
    packed = zstandard.ZstdCompressor().compress(plain) if body is None else body
    values = {
        "schema": SCHEMA, "site": "hq", "version": 1, "made_at": NOW, "program": "1",
        "size": len(plain) if size is None else size, "body": packed, **changes,
    }  # fmt: skip
    signed = msgspec.msgpack.encode(values)
    return msgspec.msgpack.encode(Sealed(signed, key.sign(BUNDLE_CONTEXT + signed)))


def refused(data: bytes, key: Key, site: str = "hq") -> EnvelopeError:
    with pytest.raises(EnvelopeError) as caught:
        open_bundle(data, site, key.verify)
    assert caught.value.hint
    return caught.value


def test_what_is_sealed_is_opened_as_the_same(key: Key) -> None:
    bundle = bundle_of(
        7, files={"rmm.yaml": b"a", "rules/a.yaml": b"", "collectors/0/x/collect.ps1": bytes(range(256))}
    )
    assert open_bundle(seal_bundle(bundle, key.sign), "hq", key.verify) == bundle


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_neither_sealed_nor_opened(name: str, key: Key) -> None:
    assert unfit_name(name)
    assert refused(raw(key, {name: b"x"}), key).code == "envelope.format"
    with pytest.raises(EnvelopeError):
        seal_bundle(bundle_of(files={name: b"x"}), key.sign)


@given(st.text(alphabet=st.sampled_from("a.-_/\\:C~ 1\x00"), max_size=12))
def test_a_name_that_is_allowed_stays_below_its_folder(name: str) -> None:
    if not unfit_name(name):
        root = Path("/base/bundles/1")
        parts = name.split("/")
        assert root in (root / name).resolve().parents
        assert all(part not in ("", ".", "..") and part.strip(". ") == part for part in parts)


@pytest.mark.parametrize("files", [{"a": b"", "A": b""}, {"rules": b"", "rules/a": b""}, {"x/Y": b"", "X": b""}])
def test_names_that_are_one_on_windows_are_refused(files: dict[str, bytes], key: Key) -> None:
    assert "cannot both be there" in str(refused(raw(key, files), key))


def test_another_key_a_changed_byte_and_another_site_are_refused(key: Key) -> None:
    data = seal_bundle(bundle_of(), key.sign)
    assert refused(data, Key()).code == "envelope.signature"
    assert refused(data, key, "berlin").code == "envelope.site"
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 0x40
        assert refused(bytes(changed), key).code in ("envelope.signature", "envelope.format")
    for end in range(0, len(data), 11):
        assert refused(data[:end], key).code in ("envelope.signature", "envelope.format")


def test_a_signature_of_something_else_is_none_of_a_bundle(key: Key) -> None:
    sealed = msgspec.msgpack.decode(seal_bundle(bundle_of(), key.sign), type=Sealed)
    for context in (b"", b"rmm receipt 1\0", b"rmm envelope 1\0"):
        again = msgspec.msgpack.encode(Sealed(sealed.signed, key.sign(context + sealed.signed)))
        assert refused(again, key).code == "envelope.signature"


def test_a_bomb_is_not_unpacked(key: Key) -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(300 << 20))
    assert len(bomb) < 100_000
    for size in (1000, MOST_BYTES, MOST_BYTES + 1, 300 << 20, 0, -1, 1 << 62):
        assert refused(raw(key, body=bomb, size=size), key).code in ("envelope.size", "envelope.format")
    tracemalloc.start()
    refused(raw(key, body=bomb, size=1000), key)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    streamed = zstandard.ZstdCompressor().compressobj()  # without the size in the frame's head
    data = streamed.compress(bytes(100 << 20)) + streamed.flush()
    assert refused(raw(key, body=data, size=1000), key).code == "envelope.size"
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, compression_level=1, write_content_size=0)
    ).compressobj()
    data = wide.compress(b"x" * 10) + wide.flush()
    assert refused(raw(key, body=data, size=10), key).code == "envelope.format"


@pytest.mark.parametrize("files", [[], ["a"], {"a": "text"}, {1: b""}, {"a": {}}, b"x", None, {"a": [b""]}])
def test_what_is_no_map_of_names_to_bytes_is_refused(files: Any, key: Key) -> None:
    plain = msgspec.msgpack.encode(files)
    body = zstandard.ZstdCompressor().compress(plain)
    assert refused(raw(key, body=body, size=len(plain)), key).code == "envelope.format"


def test_too_many_files_and_strange_versions_are_refused(key: Key) -> None:
    assert refused(raw(key, {f"rules/{n}": b"" for n in range(5001)}), key).code == "envelope.size"
    for version in (0, -1, 1 << 60, "1", 1.5, None):
        assert refused(raw(key, version=version), key).code == "envelope.format"


def test_one_version_older_and_newer_are_read_and_others_say_who_is_behind(key: Key) -> None:
    for schema in (SCHEMA - 1, SCHEMA, SCHEMA + 1):
        opened = open_bundle(raw(key, schema=schema, something_new={"a": [1]}), "hq", key.verify)
        assert (opened.schema, opened.files) == (schema, {"rmm.yaml": b"x"})
    newer = refused(raw(key, schema=SCHEMA + 2, made_at="of another form"), key)
    assert newer.code == "envelope.schema"
    assert "at the site" in newer.hint
    assert "at the hub" in refused(raw(key, schema=SCHEMA - 2), key).hint


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    refused(data, Key())
