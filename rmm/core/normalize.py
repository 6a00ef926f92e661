"""A manifest and a raw document give a reading: `Normalizer`, which compiles its manifest once and then only computes.

It trusts nothing in a document. One wrong value costs that value; a document of another shape is an OutputError.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from fnmatch import translate
from typing import Any

from rmm.core import coerce, journal, rates
from rmm.core.coerce import Convert, Invalid
from rmm.core.context import INVALID, UNKNOWN, UNSUPPORTED, Context, Instance, Missing, Reader, Site
from rmm.core.formulas import FORMULAS
from rmm.core.records import HRESULTS, result_of
from rmm.core.top import highest
from rmm.errors import OutputError
from rmm.model.collector import Field, Manifest
from rmm.model.observation import CollectorResult, Row

MAX_ROWS = 5000
NOTES = "notes"  # reserved source: instances {"Source": ..., "Reason": ...} say why a source is empty
_ROLE_ABSENT = HRESULTS[0x80041002]
_REASONS = frozenset({"unsupported", "access_denied", "unknown"})
# Notes that are part of a healthy poll: the first sample, and what this Windows does not have.
_HARMLESS = frozenset({"no_data_yet", "unsupported"})

_Predicate = Callable[[Instance], bool]
MOST_KEPT, LONGEST_KEPT = 4096, 256  # texts of one field that are remembered, and their length


class Normalizer:
    """Turns raw documents of one collector into results. Holds no state between calls."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._rows = manifest.rows
        self._counters: dict[str, list[tuple[str, int]]] = {}
        self._keep = _filters(manifest)
        names = [*manifest.key, *(name for name in manifest.fields if name not in manifest.key)]
        readers = [(name, self._reader(manifest.fields[name]), manifest.fields[name].nullable) for name in names]
        self._keys, self._fields = readers[: len(manifest.key)], readers[len(manifest.key) :]
        self._layout = f"{zlib.crc32(repr(sorted(self._counters.items())).encode()):08x}"
        self._wraps = {source: [bits for _, bits in wanted] for source, wanted in self._counters.items()}

    def read(
        self, document: Mapping[str, Any], *, counters: Mapping[str, Any] | None, observed_at: datetime
    ) -> CollectorResult:
        """Make the rows of one document.

        Args:
            document: source name -> instances, as it came.
            counters: `CollectorResult.counters` of the previous reading of this endpoint, if there was one.
            observed_at: when the poll began, UTC-aware.

        Raises:
            OutputError: the document has no list for the source of the rows.
        """
        kept = None
        if self._manifest.journal is not None:
            document, kept = journal.fold(
                self._manifest.journal, document, (counters or {}).get(journal.KEPT), observed_at
            )
        context = self._open(document, observed_at)
        before = counters if counters is not None and counters.get("layout") == self._layout else {}
        after: dict[str, Any] = {}
        for source in self._counters:
            if source != self._rows:
                self._sample(context, source, "", context.lists[source][:1], before, after)
        notes: dict[str, str] = {}
        if self._lacks_role(context):
            return result_of(_ROLE_ABSENT, f"no {', '.join(self._manifest.roles)} here: {self._rows} has no instance")
        if self._rows in context.told and not context.lists[self._rows]:
            notes["rows"] = context.reasons[self._rows]
        readings = self._readings(context, before, after, notes)
        if after:
            after["layout"] = self._layout
        if kept is not None:
            after[journal.KEPT] = kept
        partial = any(reason not in _HARMLESS for reason in notes.values())
        return CollectorResult(outcome="partial" if partial else "ok", readings=readings, notes=notes, counters=after)

    def _open(self, document: Mapping[str, Any], observed_at: datetime) -> Context:
        if self._rows and type(document.get(self._rows)) is not list:
            raise OutputError(f"{self._manifest.name}: no list {self._rows or 'of sources'!r}")
        told = _told(document.get(NOTES))
        lists: dict[str, list[Instance]] = {}
        reasons: dict[str, str] = {}
        for name, source in self._manifest.sources.items():
            given = document.get(name)
            lists[name] = [i for i in given[: MAX_ROWS + 1] if type(i) is dict] if type(given) is list else []
            plain = UNSUPPORTED if source.optional else UNKNOWN
            reasons[name] = told.get(name, plain)
        return Context(lists, reasons, observed_at, frozenset(told.keys() & lists.keys()))

    def _lacks_role(self, context: Context) -> bool:
        """Whether nothing is there of a role that the collector is about, and nobody was kept from looking."""
        return bool(self._manifest.roles and self._rows) and not (
            context.lists[self._rows] or context.reasons[self._rows] != UNSUPPORTED
        )

    def _readings(
        self, context: Context, before: Mapping[str, Any], after: dict[str, Any], notes: dict[str, str]
    ) -> tuple[Row, ...]:
        instances = context.lists[self._rows] if self._rows else [{}]
        if self._rows in context.told:  # the script says that there are more, or none that could be had
            notes["rows"] = context.reasons[self._rows]
        rows: dict[str, Row] = {}
        counting, filtered = self._rows in self._counters, bool(self._keep)
        for instance in instances:
            if filtered and not all(keep(instance) for keep in self._keep):
                continue
            row: Row = {}
            context.row = row
            self._fill(self._keys, context, instance, row, notes)
            if None in row.values():
                continue
            key = "|".join(map(str, row.values())) if row else ""
            if key in rows:
                continue
            if len(rows) == MAX_ROWS:
                notes["rows"] = INVALID
                break
            if counting:
                self._sample(context, self._rows, key, [instance], before, after)
            self._fill(self._fields, context, instance, row, notes)
            rows[key] = row
        kept = list(rows.values())
        return tuple(kept if self._manifest.top is None else highest(kept, self._manifest.top))

    @staticmethod
    def _fill(
        readers: list[tuple[str, Reader, bool]], context: Context, instance: Instance, row: Row, notes: dict[str, str]
    ) -> None:
        for name, read, nullable in readers:
            try:
                value = row[name] = read(context, instance)
            except Missing as missing:
                row[name] = None
                notes.setdefault(name, missing.reason)
            except (Invalid, OverflowError):
                row[name] = None
                notes[name] = INVALID
            else:
                if value is None and not nullable:
                    notes.setdefault(name, UNKNOWN)

    def _sample(
        self,
        context: Context,
        source: str,
        key: str,
        instances: list[Instance],
        before: Mapping[str, Any],
        after: dict[str, Any],
    ) -> None:
        """Take this instance's counters, keep them for the next poll, and compare them with the last poll's."""
        wanted = self._counters[source]
        instance = instances[0] if instances else {}
        now: rates.Sample = [_counter(instance.get(prop)) for prop in rates.CLOCKS]
        now += [_counter(instance.get(prop)) for prop, _ in wanted]
        context.samples[source] = now
        if instances:
            after.setdefault(source, {})[key] = now
        earlier = before.get(source)
        last = earlier.get(key) if isinstance(earlier, dict) else None
        context.changes[source] = rates.change(now, last, self._wraps[source]) if type(last) is list else None

    def _reader(self, field: Field) -> Reader:
        formula = FORMULAS[field.formula]
        source = field.source or self._rows
        read = formula.build(Site(field, source, lambda prop, bits: self._slot(source, prop, bits)))
        if field.missing:
            read = _but_not(field, read)
        elif not field.unless and source == self._rows and not field.formula:
            return _plain(field)
        if source != self._rows and not formula.whole:
            read = _about_matching(source, field.match, read) if field.match else _about_first(source, read)
        if field.unless:
            read = _where([_matcher(prop, values, False) for prop, values in field.unless.items()], read)
        return _converted(read, coerce.TYPES[field.type])

    def _slot(self, source: str, prop: str, bits: int) -> int:
        wanted = self._counters.setdefault(source, [])
        if (prop, bits) not in wanted:
            wanted.append((prop, bits))
        return wanted.index((prop, bits))


def _plain(field: Field) -> Reader:
    """The most frequent readers, which take what is right at once and leave the rest to the strict conversion."""
    prop, convert = field.prop, coerce.TYPES[field.type]

    # Services and programs are called alike on most machines of a fleet: what was cleaned once need not be again.
    cleaned: dict[Any, str | None] = {None: None}

    def read_text(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        try:
            return cleaned[value]
        except (KeyError, TypeError):  # not seen yet, or a list where a text belongs
            result = coerce.text(value)
        if type(value) is str and len(value) <= LONGEST_KEPT:
            if len(cleaned) >= MOST_KEPT:
                cleaned.clear()
            cleaned[value] = result
        return result

    def read_small(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        return value if type(value) is int and 0 <= value < 2**63 else coerce.integer(value)

    def read_any(context: Context, instance: Instance) -> Any:
        return convert(instance.get(prop))

    return {"text": read_text, "int": read_small}.get(field.type, read_any)


def _converted(read: Reader, convert: Convert) -> Reader:
    return lambda context, instance: convert(read(context, instance))


def _about_first(source: str, read: Reader) -> Reader:
    return lambda context, instance: read(context, context.first(source))


def _about_matching(source: str, match: Mapping[str, str], read: Reader) -> Reader:
    """No instance matches: no value. The source is empty: its reason."""
    ((theirs, ours),) = match.items()

    def about(context: Context, instance: Instance) -> Any:
        if not context.lists[source]:
            raise Missing(context.reasons[source])
        wanted = instance.get(ours)
        found = None if wanted is None else context.index(source, theirs).get(str(wanted).casefold())
        return None if found is None else read(context, found)

    return about


def _but_not(field: Field, read: Reader) -> Reader:
    prop, missing = field.prop, {str(value).casefold() for value in field.missing}

    def known(context: Context, instance: Instance) -> Any:
        return None if str(instance.get(prop)).casefold() in missing else read(context, instance)

    return known


def _where(keep: list[_Predicate], read: Reader) -> Reader:
    return lambda context, instance: read(context, instance) if all(test(instance) for test in keep) else None


def _counter(value: Any) -> int | None:
    try:
        return coerce.integer(value)
    except Invalid:
        return None


def _told(notes: Any) -> dict[str, str]:
    if type(notes) is not list:
        return {}
    pairs = ((note.get("Source"), note.get("Reason")) for note in notes[:64] if type(note) is dict)
    texts = ((source, reason) for source, reason in pairs if type(source) is str and type(reason) is str)
    return {source: reason for source, reason in texts if reason in _REASONS}


def _filters(manifest: Manifest) -> list[_Predicate]:
    keep = [_matcher(prop, wanted, True) for prop, wanted in manifest.where.items()]
    return keep + [_matcher(prop, unwanted, False) for prop, unwanted in manifest.exclude.items()]


def _matcher(prop: str, wanted: Any, result: bool) -> _Predicate:
    """Whether a property is one of `wanted`, without case; `*` and `?` in a text are wildcards, null is no value."""
    alternatives = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    exact = {str(value).casefold() for value in alternatives if value is not None}
    globs = [value for value in alternatives if isinstance(value, str) and ("*" in value or "?" in value)]
    # Bounded input: at most 300 characters are looked at, so no pattern can take long.
    pattern = re.compile("|".join(translate(glob.casefold()) for glob in globs)) if globs else None
    empty = None in alternatives

    def keep(instance: Instance) -> bool:
        value = instance.get(prop)
        if value is None or value == "":
            return empty is result
        folded = str(value)[:300].casefold()
        return (folded in exact or (pattern is not None and pattern.match(folded) is not None)) is result

    return keep
