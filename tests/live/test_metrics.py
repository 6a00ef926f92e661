"""The metrics: their values, their formats, their names, and that nobody can make too many of them."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from boards import HOSTILE, alert, build, endpoint, folder, harmless, store
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from rmm.metrics.exposition import text
from rmm.metrics.gather import Gatherer, PerEndpoint
from rmm.metrics.table import BY_NAME, COUNTER, ENDPOINT, HISTOGRAM, METRICS, PER_ENDPOINT, page
from rmm.metrics.values import LONGEST, MOST, Samples
from rmm.model.counts import Counts
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.round import PollSummary
from rmm.settings.load import load_settings
from rmm.tiers.counts_file import counted

openmetrics_families: Any = openmetrics_parser.text_string_to_metric_families
text_string_to_metric_families: Any = parser.text_string_to_metric_families
DOCS = Path(__file__).parents[2] / "docs"
PROCESS = {
    "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
    "process_cpu_seconds_total", "process_open_fds", "process_max_fds",
}  # fmt: skip


def gathered(place: Path, *metrics: str, most: int = 1000) -> Samples:
    return Gatherer(load_settings(place, None), PerEndpoint(metrics, most)).gather()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = build(tmp_path_factory.mktemp("metrics") / "conf")
    count(made / "data")
    spool = made / "data" / "spool" / "hq" / "0"
    spool.mkdir(parents=True)
    (spool / "1.spool").write_bytes(b"x" * 100)
    hot = made / "data" / "hot" / "hq"
    hot.mkdir(parents=True)
    (hot / "0.json").write_text("{}")
    return made


def count(data: Path) -> None:
    """A round of three polls."""
    from rmm.core.counting import note

    counts, summary = Counts(), PollSummary(planned=3)
    with counted(data, counts, summary):
        for seconds, code in ((0.3, ""), (2.0, ""), (700.0, "timeout")):
            one = Observation(
                endpoint="e", name="E", site="hq", shard=0, observed_at=datetime.now(UTC), duration_s=seconds,
                status="TIMEOUT" if code else "OK", fault=Fault(code) if code else None,
                collectors={"cpu": CollectorResult(outcome="ok")}, epoch="0" * 16, seq=1,
            )  # fmt: skip
            summary.count(one)
            note(counts, one)


def test_values(place: Path) -> None:
    values = gathered(place).values
    assert values["rmm_endpoints"]["hq", "never_polled", "Unknown"] == 1
    assert values["rmm_endpoints"]["hq", "PARTIAL", "Critical"] == 1
    assert sum(values["rmm_endpoints"].values()) == 7
    assert values["rmm_stale_endpoints"] == {("berlin",): 1, ("hq",): 0}
    assert values["rmm_alerts"]["critical", "firing", "service_stopped"] == 1
    assert values["rmm_site_alerts"]["berlin", "critical", "acknowledged"] == 1
    assert values["rmm_site_health_ratio"] == {("berlin",): 0.48, ("hq",): 0.8}
    assert values["rmm_fleet_health_ratio"] == {(): 0.67}
    assert values["rmm_outbox_notifications"] == {("mail", "waiting"): 1}
    assert time.time() - values["rmm_outbox_oldest_timestamp_seconds"]["mail", "waiting"] == pytest.approx(600, abs=60)
    assert time.time() - values["rmm_site_oldest_observation_timestamp_seconds"]["berlin",] > 3500
    assert values["rmm_polls_total"] == {("hq", "OK"): 2, ("hq", "TIMEOUT"): 1}
    histogram = values["rmm_poll_duration_seconds"]["hq",]
    assert (histogram.cumulative[0], histogram.cumulative[2], histogram.cumulative[-2:]) == (0, 1, (2, 3))
    assert histogram.total == 702.3
    assert values["rmm_poll_faults_total"] == {("timeout",): 1}
    assert values["rmm_rounds_total"] == {("some_failed",): 1}
    assert values["rmm_spool_bytes"] == {("hq",): 100, ("berlin",): 0}
    assert values["rmm_store_bytes"]["fleet",] >= (place / "data" / "fleet.sqlite").stat().st_size
    assert values["rmm_disk_free_bytes"][()] > 0
    assert values["rmm_source_readable"] == {("fleet",): 1, ("store",): 1}
    assert values["rmm_metrics_series_left_out"] == {(): 0}
    assert values["rmm_site_collector_lag_seconds"] == {("hq", "hq-1"): 12}
    assert values["rmm_site_collector_spooled_entries"] == {("hq", "hq-1"): 7}
    assert values["rmm_site_collector_info"] == {("hq", "hq-1", "0.1.0", "4"): 1}
    assert values["rmm_site_refused_total"] == {("hq", "envelope.signature"): 3}
    assert values["rmm_site_collector_certificate_expires_timestamp_seconds"]["hq", "hq-1"] > time.time() + 86_400
    assert not any(name in values for name in PER_ENDPOINT.values())


def test_single_endpoints(place: Path) -> None:
    samples = gathered(place, *PER_ENDPOINT.values())
    web = ("hq-web1", "HQ-WEB1", "hq")
    found = {name: series[web] for name, series in samples.values.items() if web in series}
    assert found.pop("rmm_endpoint_observation_timestamp_seconds") == pytest.approx(time.time(), abs=120)
    assert found == {
        "rmm_endpoint_up": 1, "rmm_endpoint_health_ratio": 1, "rmm_endpoint_poll_duration_seconds": 0.4,
        "rmm_endpoint_cpu_ratio": 0.125, "rmm_endpoint_memory_ratio": 0.5, "rmm_endpoint_volume_ratio": 0.75,
        "rmm_endpoint_uptime_seconds": 3600,
    }  # fmt: skip
    up = samples.values["rmm_endpoint_up"]
    assert len(up) == 6  # not the one that was never polled
    assert up["ber-dc1", "BER-DC1", "berlin"] == 0
    assert ("ber-pc1", "BER-PC1", "berlin") not in samples.values["rmm_endpoint_health_ratio"]
    evil = next(labels for labels in up if "EVIL" in labels[1])
    assert harmless("".join(evil))
    # What it says of itself is no number, and no value.
    assert evil not in samples.values["rmm_endpoint_cpu_ratio"]
    assert evil not in samples.values["rmm_endpoint_uptime_seconds"]
    few = gathered(place, "rmm_endpoint_up", most=2)
    assert set(few.values["rmm_endpoint_up"]) == set(sorted(up)[:2])
    assert few.values["rmm_metrics_series_left_out"] == {(): 4}


@pytest.mark.parametrize("fact", ["NaN", True, None, [], {}, 1e300, -1e300])
def test_a_fact_that_is_no_number(tmp_path: Path, fact: Any) -> None:
    made = folder(tmp_path / "conf")
    store(made / "data", [endpoint("A", "hq", at=datetime.now(UTC), facts={"cpu_pct": fact})], [])
    values = gathered(made, "rmm_endpoint_cpu_ratio", "rmm_endpoint_up").values
    assert "rmm_endpoint_cpu_ratio" not in values
    assert len(values["rmm_endpoint_up"]) == 1


def test_labels_without_end_are_counted_together(tmp_path: Path) -> None:
    made = folder(tmp_path / "conf")
    now = datetime.now(UTC)
    rows = [endpoint(f"{n:04d}", f"site-{n:04d}", at=now, status=f"S{n}" * 100, health=HOSTILE) for n in range(1000)]
    alerts = [alert(f"rule{n}", f"{n:04d}", f"site-{n:04d}", at=now, state="firing") for n in range(1000)]
    store(made / "data", rows, alerts)
    samples = gathered(made)
    for metric, series in samples.values.items():
        for place in range(len(BY_NAME[metric].labels)):
            names = {labels[place] for labels in series}
            assert len(names) <= MOST + 1, metric
            assert all(len(name) <= LONGEST for name in names)
    assert sum(samples.values["rmm_alerts"].values()) == 1000
    assert sum(samples.values["rmm_endpoints"].values()) == 1006
    assert samples.left_out > 3000
    assert harmless(text(samples).decode())


def test_what_cannot_be_read_is_absent_and_said_so(tmp_path: Path) -> None:
    made = build(tmp_path / "conf")
    gatherer = Gatherer(load_settings(made, None))
    assert gatherer.gather().values["rmm_source_readable"]["fleet",] == 1
    for beside in (made / "data").glob("fleet.sqlite-*"):
        beside.unlink()
    (made / "data" / "fleet.sqlite").write_bytes(b"nonsense" * 2000)
    values = gatherer.gather().values
    assert values["rmm_source_readable"] == {("fleet",): 0, ("store",): 1}
    assert "rmm_endpoints" not in values  # not what was read before, as if it were so now
    assert "rmm_disk_free_bytes" in values


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    values = gathered(folder(tmp_path / "conf")).values
    assert values["rmm_endpoints"] == {("hq", "never_polled", "Unknown"): 4, ("berlin", "never_polled", "Unknown"): 2}
    assert "rmm_fleet_health_ratio" not in values
    assert "rmm_last_round_timestamp_seconds" not in values
    text(gathered(tmp_path / "conf"))


def everything(place: Path) -> Samples:
    """With the metrics that only a server, an old store or a budget has."""
    samples = gathered(place, *PER_ENDPOINT.values())
    for name in (
        "rmm_store_growth_bytes_per_second", "rmm_disk_full_seconds", "rmm_store_budget_reached_seconds",
        "rmm_metrics_dropped_connections_total", "rmm_last_round_peak_memory_bytes",
    ):  # fmt: skip
        samples.values.setdefault(name, {(): math.inf if "seconds" in name else 1})
    samples.values["rmm_metrics_requests_total"] = {("200",): 1}
    return samples


def test_every_metric_of_the_table_is_written_in_both_formats(place: Path) -> None:
    samples = everything(place)
    assert set(samples.values) == set(BY_NAME)
    for families in (
        list(text_string_to_metric_families(text(samples).decode())),
        list(openmetrics_families(text(samples, openmetrics=True).decode())),
    ):
        assert len(families) == len(METRICS)
        for family in families:
            metric = BY_NAME.get(family.name) or BY_NAME[f"{family.name}_total"]
            assert family.type == metric.kind
            assert family.documentation == metric.meaning
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(metric.labels)


def test_a_metric_that_the_table_does_not_have_is_refused() -> None:
    samples = Samples()
    samples.add("rmm_unknown", 1)
    with pytest.raises(KeyError, match="rmm_unknown"):
        text(samples)


def test_names_and_units() -> None:
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"rmm_[a-z_]+", metric.name)
        assert (metric.kind == COUNTER) == metric.name.endswith("_total")
        assert not re.search(r"percent|pct|_ms|milli|minutes|hours|days|kilo|mega|_score", metric.name)
        assert "le" not in metric.labels
        assert not re.search(r"_(sum|count|bucket)$", metric.name)
    assert {metric.labels for metric in ENDPOINT} == {("endpoint", "name", "site")}


def promtool() -> str:
    found = os.environ.get("RMM_PROMTOOL") or shutil.which("promtool")
    if not found:
        pytest.skip("no promtool here: Debian's package prometheus has it; name it with RMM_PROMTOOL")
    return found


def test_promtool_accepts_them(place: Path) -> None:
    done = subprocess.run([promtool(), "check", "metrics"], input=text(everything(place), process=True),
                          capture_output=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def queries() -> list[str]:
    board = json.loads((files("rmm.metrics") / "dashboard.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def test_every_query_of_the_dashboard_names_a_metric_that_exists() -> None:
    sampled = {name for name, metric in BY_NAME.items() if metric.kind != HISTOGRAM}
    sampled |= {f"{m.name}_{part}" for m in METRICS if m.kind == HISTOGRAM for part in ("bucket", "sum", "count")}
    found = queries()
    assert len(found) > 30
    used = Counter(name for expression in found for name in re.findall(r"\brmm_\w+", expression))
    assert set(used) <= sampled | PROCESS
    for expression in found:
        assert "rmm_" in expression
        for name, labels in re.findall(r"\b(rmm_\w+)\{([^}]*)\}", expression):
            of = BY_NAME.get(name) or BY_NAME[name.rpartition("_")[0]]
            assert set(re.findall(r"(\w+)\s*(?:=|!)", labels)) <= {*of.labels, "le"}, expression
        for by in re.findall(r"by \(([^)]*)\)", expression):
            names = re.findall(r"\brmm_\w+", expression)
            known = {
                label for name in names for label in (BY_NAME.get(name) or BY_NAME[name.rpartition("_")[0]]).labels
            }
            assert {one.strip() for one in by.split(",")} <= {*known, "le"}, expression


def test_the_dashboard_is_one() -> None:
    board = json.loads((files("rmm.metrics") / "dashboard.json").read_text(encoding="utf-8"))
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert '"uid": "${datasource}"' in json.dumps(board)


def test_promtool_understands_the_queries(tmp_path: Path) -> None:
    rules = []
    for place, expression in enumerate(queries()):
        plain = expression.replace("$__rate_interval", "5m").replace("$site", ".*")
        assert "$" not in plain
        rules.append({"record": f"q{place}", "expr": plain})
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_page_has_the_table() -> None:
    shown = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert "\n".join(page()).strip() in shown


def rmm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rmm", "metrics", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


def test_print_and_write(place: Path, tmp_path: Path) -> None:
    done = rmm("print", "--config", str(place), "--per-endpoint", "all", "--per-endpoint-limit", "2")
    assert (done.returncode, done.stderr) == (0, "")
    names = {family.name for family in text_string_to_metric_families(done.stdout)}
    assert {"rmm_endpoints", "rmm_endpoint_up", "rmm_build_info"} <= names
    assert not any(name.startswith("process_") for name in names)  # another process would have these as well
    open_metrics = rmm("print", "--config", str(place), "--openmetrics").stdout
    assert open_metrics.endswith("# EOF\n")
    assert list(openmetrics_families(open_metrics))
    out = tmp_path / "rmm.prom"
    out.write_text("before")
    assert rmm("write", str(out), "--config", str(place)).returncode == 0
    assert "rmm_endpoints" in {family.name for family in text_string_to_metric_families(out.read_text())}
    assert [path.name for path in tmp_path.iterdir()] == ["rmm.prom"]
    if sys.platform != "win32":
        assert out.stat().st_mode & 0o777 == 0o644  # the exporter has another account
    assert rmm("write", str(tmp_path), "--config", str(place)).returncode == 2
    assert rmm("write", str(tmp_path / "rmm.prom" / "x"), "--config", str(place)).returncode == 1


def test_list_dashboard_and_wrong_words(place: Path) -> None:
    listed = json.loads(rmm("list", "--output", "json").stdout)
    assert {one["name"] for one in listed} == set(BY_NAME)
    assert json.loads(rmm("dashboard").stdout)["title"] == "rmm: fleet"
    wrong = rmm("print", "--config", str(place), "--per-endpoint", "name")
    assert wrong.returncode == 2
    assert "there are up, health_ratio" in wrong.stderr
