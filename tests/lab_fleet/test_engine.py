"""The samples engine: recognises bundles, answers from the machine's state, and says no like PowerShell."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.bundle import powershell_bundle, shell_bundle
from rmm.catalog.load import load_catalog
from rmm.lab.documents import derivable
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.fleet import LabFleet
from rmm.lab.nearest import has_role
from rmm.lab.simulated import LabMachine
from rmm.model.collector import Collector, Manifest, Source
from rmm.resources import shipped

CV = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
UNINSTALL = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall"


def collector(name: str, folder: Path, **sources: Source) -> Collector:
    manifest = Manifest(
        name=name, title=name, schema=1, interval=60, timeout=10, cost="C2", owner="test", fields={}, sources=sources
    )
    script = f"# says what {name} is\n\nGet-Nothing '{name}'\n    'x' # kept\n"
    return Collector(manifest=manifest, folder=str(folder / name), windows=script, linux=f"# sh\necho '{{}}' {name}\n")


@pytest.fixture
def catalog(tmp_path: Path) -> dict[str, Collector]:
    typical = {
        "rows": [{"ComputerName": "SAMPLE01", "Value": 3}],
        "product": [{"UUID": "00000000-0000-0000-0000-000000000001"}],
    }
    (tmp_path / "replayed" / "samples").mkdir(parents=True)
    (tmp_path / "replayed_class" / "samples").mkdir(parents=True)
    (tmp_path / "replayed_class" / "samples" / "windows11-typical.raw.json").write_text(
        json.dumps(typical), encoding="utf-8"
    )
    for file in ("server2019-typical", "server2019-empty", "linux-typical"):
        content = typical if "typical" in file else {"rows": []}
        content = {"rows": [{"HostName": "penguin"}]} if "linux" in file else content
        (tmp_path / "replayed" / "samples" / f"{file}.raw.json").write_text(json.dumps(content), encoding="utf-8")
    made = [
        collector(
            "mixed",
            tmp_path,
            os=Source(
                wql="SELECT CSName, LastBootUpTime, TotalVisibleMemorySize, MUILanguages FROM Win32_OperatingSystem"
            ),
            version=Source(registry=(CV,), values=("UBR", "EditionID", "Nope")),
            none=Source(registry=(r"HKLM\SOFTWARE\Nope",), values=("A",), optional=True),
            triggers=Source(registry=(r"HKLM\SYSTEM\CurrentControlSet\Services\*\TriggerInfo",)),
            programs=Source(registry_keys=(UNINSTALL,), values=("DisplayName",)),
        ),
        collector("services", tmp_path, services=Source(wql="SELECT Name, DisplayName, State FROM Win32_Service")),
        collector("broken", tmp_path, x=Source(wql="SELECT * FROM Win32_Nonsense")),
        collector("keyless", tmp_path, x=Source(registry=(r"HKLM\SOFTWARE\Nope",), values=("A",))),
        collector(
            "optional",
            tmp_path,
            x=Source(wql="SELECT * FROM Win32_Nonsense", optional=True),
            y=Source(wql="SELECT Name FROM Win32_ComputerSystem"),
        ),
        collector("replayed", tmp_path, rows=Source()),
        # A user's own: a class that the lab has not, but its author's sample has.
        collector("replayed_class", tmp_path, rows=Source(wql="SELECT Value FROM Win32_OfTheirOwn"), extra=Source()),
    ]
    return {one.name: one for one in made}


def run(engine: SamplesEngine, machine: LabMachine, text: str, now: datetime) -> list[dict[str, Any]]:
    result = engine.execute(machine, text, [], now)
    assert not result.errors
    assert not result.failed
    return [json.loads(line) for line in result.output]


def test_a_bundle_gives_one_part_per_collector_in_order(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime
) -> None:
    engine = SamplesEngine(catalog)
    text = powershell_bundle([catalog[name] for name in ("services", "mixed", "replayed")]).text
    for index in (0, 3, 4, 9):
        machine = fleet[index]
        parts = run(engine, machine, text, started)
        assert [part["collector"] for part in parts] == ["services", "mixed", "replayed"]
        assert {part["host"] for part in parts} == {machine.name}
        assert all(part["ms"] > 0 for part in parts)
        again = run(engine, machine, text.replace("\n", "\r\n"), started)
        assert again == parts


def test_sources_are_read_from_the_machine(catalog: dict[str, Collector], fleet: LabFleet, started: datetime) -> None:
    engine = SamplesEngine(catalog)
    text = powershell_bundle([catalog["mixed"]]).text
    for index in (0, 4, 9, 30):
        machine = fleet[index]
        document = run(engine, machine, text, started)[0]["document"]
        assert list(document) == ["os", "version", "none", "triggers", "programs"]
        (system,) = document["os"]
        assert list(system) == ["CSName", "LastBootUpTime", "TotalVisibleMemorySize", "MUILanguages"]
        assert system["CSName"] == machine.name
        assert isinstance(system["TotalVisibleMemorySize"], int)
        assert system["MUILanguages"] == [machine.language.mui]
        assert len(system["LastBootUpTime"]) == len("2026-11-10T19:04:43.0000000Z")
        assert system["LastBootUpTime"].endswith("Z")
        assert document["version"] == [{"UBR": machine.os.ubr, "EditionID": machine.os.edition, "Nope": None}]
        assert document["none"] == []
        assert {"KeyName": "gpsvc"} in document["triggers"]
        assert {"KeyName": "AddressBook", "DisplayName": None} in [
            {"KeyName": row["KeyName"], "DisplayName": row.get("DisplayName")} for row in document["programs"]
        ]


def test_the_wql_form_and_the_script_form_agree(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime
) -> None:
    engine = SamplesEngine(catalog)
    text = powershell_bundle([catalog["services"]]).text
    for machine in (fleet[index] for index in range(80)):
        rows = machine.query("root/cimv2", catalog["services"].manifest.sources["services"].wql, started).rows
        assert run(engine, machine, text, started)[0]["document"] == {"services": rows}


def test_a_sample_is_replayed_with_the_machine_s_own_identity(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime
) -> None:
    engine = SamplesEngine(catalog)
    machine = fleet[2]
    (part,) = run(engine, machine, powershell_bundle([catalog["replayed"]]).text, started)
    assert part["document"] == {
        "rows": [{"ComputerName": machine.name, "Value": 3}],
        "product": [{"UUID": machine.uuid}],
    }
    (part,) = run(engine, machine, powershell_bundle([catalog["replayed_class"]]).text, started)
    assert part["document"] == {"rows": [{"ComputerName": machine.name, "Value": 3}], "extra": []}
    result = engine.execute(machine, shell_bundle([catalog["replayed"]]).text, [], started, "sh")
    assert json.loads(result.output[0])["document"] == {"rows": [{"HostName": machine.name}]}


def test_a_class_that_windows_lacks_is_that_collector_s_error_alone(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime
) -> None:
    engine = SamplesEngine(catalog)
    text = powershell_bundle([catalog[name] for name in ("broken", "keyless", "optional")]).text
    broken, keyless, optional = run(engine, fleet[0], text, started)
    assert broken["error"]["hresult"] == -2147217392
    assert (
        broken["error"]["id"]
        == "HRESULT 0x80041010,Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"
    )
    assert broken["error"]["category"] == "MetadataError"
    assert keyless["error"]["id"] == "PathNotFound,Microsoft.PowerShell.Commands.GetItemPropertyCommand"
    assert optional["document"] == {"x": [], "y": [{"Name": fleet[0].name}]}


def test_a_changed_script_is_not_taken_for_the_collector_s(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime
) -> None:
    engine = SamplesEngine(catalog)
    text = powershell_bundle([catalog[name] for name in ("mixed", "services")]).text
    mixed, services = run(engine, fleet[0], text.replace("Get-Nothing 'mixed'", "Remove-Item 'mixed'"), started)
    assert mixed["error"]["id"] == "CommandNotFoundException"
    assert "document" not in mixed
    assert "document" in services


@pytest.mark.parametrize(
    "text", ["Get-Everything -Now", "", "#lab:nonsense", "rm -rf /", "#rmm:begin mixed\nx", "x" * 100_000]
)
def test_any_other_text_gets_a_proper_error_record(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime, text: str
) -> None:
    result = SamplesEngine(catalog).execute(fleet[0], text, [], started)
    assert result.output == []
    assert result.failed
    (error,) = result.errors
    assert error.terminating
    assert error.error_id == "CommandNotFoundException"
    assert error.category == "ObjectNotFound"
    assert error.exception == "System.Management.Automation.CommandNotFoundException"
    assert len(error.message) < 600


def test_the_lab_s_own_scripts(fleet: LabFleet, started: datetime) -> None:
    engine, machine = SamplesEngine({}), fleet[3]

    def execute(text: str, *arguments: tuple[str | None, Any]) -> Any:
        return engine.execute(machine, text, list(arguments), started)

    assert execute("$env:COMPUTERNAME").output == [machine.name]
    assert execute("#lab:echo\n", (None, 7), ("A", "ü")).output == [7, "ü"]
    (large,) = execute("#lab:size 5000").output
    assert len(large) == 5000
    assert large.startswith(f"{machine.name} ")
    slow = execute("#lab:sleep 2.5")
    assert (slow.delay_s, slow.output) == (2.5, [machine.name])
    error = execute("#lab:error")
    assert (error.output, error.failed, error.errors[0].terminating) == (["after"], False, False)
    thrown = execute("#lab:throw")
    assert (thrown.output, thrown.failed, thrown.errors[-1].terminating) == (["before"], True, True)
    for text in ("#lab:size many", "#lab:size -1", "#lab:size 99999999999", "#lab:sleep nan", "#lab:sleep -1"):
        assert execute(text).errors[0].category == "InvalidArgument"


def test_counters_move_between_two_polls(tmp_path: Path, fleet: LabFleet, started: datetime) -> None:
    wql = "SELECT Name, PercentProcessorTime, Timestamp_Sys100NS FROM Win32_PerfRawData_PerfOS_Processor"
    cpu = collector("cpu", tmp_path, perf=Source(wql=wql))
    engine, text = SamplesEngine({"cpu": cpu}), powershell_bundle([cpu]).text
    first, second = (
        run(engine, fleet[1], text, started + timedelta(seconds=at))[0]["document"]["perf"][-1] for at in (0, 60)
    )
    idle = second["PercentProcessorTime"] - first["PercentProcessorTime"]
    assert 0 < idle < second["Timestamp_Sys100NS"] - first["Timestamp_Sys100NS"] == 600_000_000


def test_a_poll_costs_little_more_than_encoding_its_answer(
    catalog: dict[str, Collector], fleet: LabFleet, started: datetime
) -> None:
    """A ratio, so that a slow machine does not fail it: 200 services cost less than ten times decoding them."""
    engine, text = SamplesEngine(catalog), powershell_bundle([catalog["services"]]).text
    answers = [engine.execute(machine, text, [], started).output[0] for machine in fleet]
    before = time.process_time()
    for machine in fleet:
        engine.execute(machine, text, [], started)
    spent = time.process_time() - before
    before = time.process_time()
    for answer in answers:
        json.loads(answer)
    assert spent < 10 * (time.process_time() - before)


def test_what_comes_with_a_role_is_on_the_machines_that_have_it(fleet: LabFleet, started: datetime) -> None:
    catalog = load_catalog([shipped("collectors")])
    of_roles = [one for one in catalog.values() if one.windows and one.manifest.roles]
    engine, text = SamplesEngine(catalog), powershell_bundle(of_roles).text
    had: set[str] = set()
    for index in range(0, 400, 5):
        for one, part in zip(of_roles, run(engine, fleet[index], text, started), strict=True):
            if has_role(one.manifest.roles, frozenset((fleet[index].role,))):
                assert part["document"][one.manifest.rows], (fleet[index].name, one.name)
                had.update(one.manifest.roles)
            else:
                code = part.get("error", {}).get("hresult", 0) & 0xFFFFFFFF
                assert code in (0x80041010, 0x8004100E) or part["document"][one.manifest.rows] == [], part
    assert {"dc", "dns", "dhcp", "hyperv"} <= had


def test_every_shipped_collector_is_answered_from_state(fleet: LabFleet, started: datetime) -> None:
    """Whatever the catalogue holds: each part is a document with every source, and no class or key is missing."""
    catalog = load_catalog([shipped("collectors")])
    with_script = [one for one in catalog.values() if one.windows and not one.manifest.roles]
    engine, text = SamplesEngine(catalog), powershell_bundle(with_script).text
    answered: set[tuple[str, str]] = set()
    for index in range(0, 400, 13):
        for one, part in zip(with_script, run(engine, fleet[index], text, started), strict=True):
            assert "error" not in part, part
            assert part["document"].keys() >= one.manifest.sources.keys()
            answered |= {(one.name, name) for name, rows in part["document"].items() if rows}
    wanted = {
        (one.name, name)
        for one in with_script
        for name, source in one.manifest.sources.items()
        if not source.optional and derivable(source)
    }
    assert wanted - answered == set()
