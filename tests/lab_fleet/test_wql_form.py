"""The two forms of a collector read the same: what its script writes, and what its queries are answered over WSMan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from rmm.catalog.bundle import powershell_bundle
from rmm.catalog.load import load_catalog
from rmm.core.normalize import NOTES, Normalizer
from rmm.core.parts import read_part
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.fleet import LabFleet
from rmm.lab.profile import load_catalogue
from rmm.lab.simulated import LabMachine
from rmm.lab.wire.enumeration import WQL, Enumerations
from rmm.lab.wire.soap import Call
from rmm.model.collector import Collector
from rmm.model.observation import CollectorResult
from rmm.resources import shipped
from rmm.transports.winrm.envelope import Answer, N, S, W, items

PROFILES = load_catalogue().profiles
CATALOG = {name: one for name, one in load_catalog([shipped("collectors")]).items() if one.wql}
REQUEST = (
    f'<s:Envelope xmlns:s="{S}" xmlns:w="{W}" xmlns:n="{N}"><s:Header>'
    "<w:ResourceURI>http://schemas.microsoft.com/wbem/wsman/1/wmi/{namespace}/*</w:ResourceURI>"
    "<w:MaxEnvelopeSize>10000000</w:MaxEnvelopeSize></s:Header>"
    '<s:Body><n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>5000</w:MaxElements><w:Filter Dialect="{dialect}">'
    "{wql}</w:Filter></n:Enumerate></s:Body></s:Envelope>"
)


def asked(one: Collector, machine: LabMachine, now: datetime) -> dict[str, list[dict[str, Any]]]:
    """The document as the poller makes it of the answers to the collector's queries."""
    document: dict[str, list[dict[str, Any]]] = {}
    for name, source in one.manifest.sources.items():
        wql = source.wql.replace("&", "&amp;").replace("<", "&lt;")
        text = REQUEST.format(namespace=source.namespace, dialect=WQL, wql=wql)
        try:
            body = Enumerations().enumerate(Call(text.encode()), machine, now)
        except Exception as fault:
            if not source.optional:
                raise AssertionError(f"{one.name}, {machine.profile}: {source.wql}: {fault}") from fault
            document[name] = []
            document.setdefault(NOTES, []).append({"Source": name, "Reason": "unsupported"})
            continue
        envelope = f'<s:Envelope xmlns:s="{S}" xmlns:w="{W}" xmlns:n="{N}"><s:Body>{body}</s:Body></s:Envelope>'
        document[name], rest = items(Answer(envelope.encode()))
        assert not rest
    return document


def read(one: Collector, documents: list[Mapping[str, Any]], times: list[datetime]) -> str:
    """Readings and notes of the second of two polls, as text, in which 1 and 1.0 differ."""
    normalizer, last = Normalizer(one.manifest), CollectorResult(outcome="ok")
    for document, at in zip(documents, times, strict=True):
        last = normalizer.read(document, counters=last.counters or None, observed_at=at)
    return json.dumps([last.outcome, last.readings, last.notes], sort_keys=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_script_and_queries_give_equal_readings(profile: str, started: datetime) -> None:
    machine = LabFleet(1, 5, started=started, profiles=[profile])[0]
    times = [started + timedelta(seconds=100), started + timedelta(seconds=160)]
    engine, text = SamplesEngine(CATALOG), powershell_bundle(list(CATALOG.values())).text
    rounds = [
        {(part := read_part(line)).collector: part for line in engine.execute(machine, text, [], at).output}
        for at in times
    ]
    compared = 0
    for name, one in CATALOG.items():
        parts = [found[name] for found in rounds]
        if parts[0].error is not None:
            assert "0x800410" in parts[0].error.id, parts[0].error  # a role that this machine lacks
            with pytest.raises(AssertionError, match="Invalid"):
                asked(one, machine, times[0])
            continue
        by_script = read(one, [part.document for part in parts], times)
        assert read(one, [asked(one, machine, at) for at in times], times) == by_script, name
        compared += 1
    assert compared >= 10
