"""Every rung of the ladder of a WinRM endpoint, whole and broken, against the lab."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import gc
import io
import json
import socket
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from climbing import app_of, climbed

from rmm.catalog.load import load_catalog
from rmm.errors import ConnectError
from rmm.model.endpoint import Credential, Secret, Target
from rmm.resources import shipped
from rmm.transports.ladders import certificate, ground

BELOW = ["name", "route", "tcp", "tls", "http", "authentication", "shell", "language", "quota", "rights"]


async def test_a_healthy_endpoint(lab_in: Callable[..., Any]) -> None:
    async with lab_in() as app:
        steps = await climbed(app)
    assert list(steps)[:10] == BELOW
    lacking = {name for name, step in steps.items() if step.verdict != "ok"} - {"tls"}
    # Of the collectors of roles those are skipped whose role this machine does not have; of the others none.
    assert {steps[name].verdict for name in lacking} == {"skipped"}
    assert {steps[name].facts["outcome"] for name in lacking} == {"unsupported"}
    catalog = load_catalog([shipped("collectors")])
    assert lacking <= {name for name, one in catalog.items() if one.manifest.roles}
    assert {"sql", "iis", "dhcp", "hyperv_host"} <= lacking
    assert steps["collector tcp"].verdict == "ok"  # it does not hide the rung of the same name
    assert steps["tls"].verdict == "skipped"
    assert all(step.ms >= 0 for step in steps.values())
    name = app.settings.endpoints[0].name
    assert steps["authentication"].facts["netbios"] == name
    assert abs(steps["authentication"].facts["clock_s"]) < 5
    assert steps["http"].facts["schemes"] == ["Negotiate"]
    assert steps["shell"].facts == {
        "configuration": "Microsoft.PowerShell", "protocol": "2.3", "powershell": "5.1.14393.2248",
    }  # fmt: skip
    assert steps["language"].facts == {"language": "FullLanguage"}
    assert steps["quota"].facts["Winrs/MaxShellsPerUser"] == 30
    assert steps["quota"].facts["own_shells"] == 0  # its own is not counted
    assert steps["services"].facts["rows"] > 50


# (fault, options of the lab, the rung that breaks, code, a part of the fix)
BROKEN: list[tuple[str, dict[str, Any], dict[str, Any], str, str, str]] = [
    ("unknown name", {"kind": "dns", "answer": "nxdomain"}, {"by_name": True}, "name", "dns.unknown", "IPAddress"),
    ("no name server", {"kind": "dns", "answer": "servfail"}, {"by_name": True}, "name", "dns.failure", "name server"),
    ("closed port", {"kind": "listing", "port": "closed"}, {}, "tcp", "tcp.refused", "nothing listens"),
    ("dropped", {"kind": "listing", "port": "dropped"}, {}, "tcp", "tcp.timeout", "firewall"),
    ("self-signed", {"kind": "tls", "how": "self_signed"}, {"scheme": "https"}, "tls", "tls.untrusted", "set Pin to"),
    ("another CA", {"kind": "tls", "how": "other_ca"}, {"scheme": "https"}, "tls", "tls.untrusted", "ca_file"),
    ("expired", {"kind": "tls", "how": "expired"}, {"scheme": "https"}, "tls", "tls.expired", "Renew"),
    ("name", {"kind": "tls", "how": "wrong_name"}, {"scheme": "https"}, "tls", "tls.name", "names another.lab.example"),
    ("page", {"kind": "http", "how": "page"}, {}, "http", "http.not_winrm", "other than WinRM"),
    ("503", {"kind": "http", "status": 503}, {}, "http", "http.unavailable", "starting"),
    ("rejected", {"kind": "reject"}, {}, "authentication", "auth.rejected", "credentials test"),
    ("shells", {"kind": "fault", "step": "create", "code": 2150859173}, {}, "shell", "quota.shells", "orphaned"),
    (
        "no such configuration",
        {"kind": "fault", "step": "create", "code": 2150858811},
        {},
        "shell",
        "unsupported.configuration",
        "Enable-PSRemoting",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("title", "fault", "options", "rung", "code", "fix"), BROKEN, ids=[one[0] for one in BROKEN])
async def test_a_rung_that_breaks(
    title: str,
    fault: dict[str, Any],
    options: dict[str, Any],
    rung: str,
    code: str,
    fix: str,
    lab_in: Callable[..., Any],
) -> None:
    async with lab_in([fault], **options) as app:
        steps = await climbed(app)
    broken = steps[rung]
    assert (broken.verdict, broken.code) == ("failed", code), broken
    assert fix in broken.fix
    for name in BELOW[: BELOW.index(rung)]:
        assert steps[name].verdict in ("ok", "skipped"), steps[name]
    if rung == "shell":
        assert steps["language"].verdict == "skipped"
        assert steps["quota"].verdict == "ok"  # it needs the logon alone
        assert steps["cpu"].verdict == "skipped"  # without another try on a machine that is full
    else:
        assert {steps[name].verdict for name in list(steps)[BELOW.index(rung) + 1 :]} == {"skipped"}


async def test_an_untrusted_certificate_is_shown_and_its_pin_can_be_copied(lab_in: Callable[..., Any]) -> None:
    async with lab_in([{"kind": "tls", "how": "self_signed"}], scheme="https") as app:
        steps = await climbed(app)
        shown = steps["tls"].facts
        assert shown["subject"] == shown["issuer"]
        assert shown["days_left"] > 300
        assert app.settings.endpoints[0].name.lower() in shown["names"]
        pin = steps["tls"].fix.rpartition("Pin to ")[2].rstrip(".")
        assert pin == shown["pin"]
        file = app.data.parent / "endpoints.csv"
        lines = file.read_text().splitlines()
        column = lines[0].split(",").index("Pin")
        rows = list(csv.reader(lines))
        rows[1][column] = pin
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        file.write_text(text.getvalue())
        steps = await climbed(app_of(app.data.parent))
    assert steps["tls"].verdict == "ok"
    assert "pinned" in steps["tls"].detail
    assert steps["authentication"].verdict == "ok"


async def test_a_good_certificate(lab_in: Callable[..., Any]) -> None:
    async with lab_in(scheme="https") as app:
        steps = await climbed(app)
    tls = steps["tls"]
    assert tls.verdict == "ok"
    assert tls.facts["version"] == "TLSv1.3"
    assert tls.facts["issuer"] == "CN=rmm lab CA"
    assert tls.facts["pin"].startswith("sha256//")
    assert "lab-ca.pem" in tls.detail
    assert steps["http"].facts["schemes"] == ["Negotiate", "Basic"]


async def test_the_site_s_name_servers_are_asked(lab_in: Callable[..., Any]) -> None:
    async with lab_in(by_name=True) as app:
        steps = await climbed(app)
    assert steps["name"].facts["addresses"] == ["127.1.0.1"]
    assert "the site's name servers (127.0.0.1:" in steps["name"].detail
    assert steps["authentication"].verdict == "ok"


async def test_the_address_of_another_endpoint(lab_in: Callable[..., Any]) -> None:
    plan = [
        {"kind": "dns", "answer": "127.1.0.2"},
        {"kind": "listing", "machines": [1], "columns": {"IPAddress": "127.1.0.2"}},
    ]
    async with lab_in(plan, by_name=True) as app:
        steps = await climbed(app)
        other = app.settings.endpoints[1].name
    assert (steps["name"].verdict, steps["name"].code) == ("warning", "name.shared")
    assert other in steps["name"].detail
    assert (steps["authentication"].verdict, steps["authentication"].code) == ("warning", "identity.mismatch")
    assert steps["cpu"].code == "identity.mismatch"


async def test_the_other_port_is_named_when_it_is_open(lab_in: Callable[..., Any]) -> None:
    with socket.socket() as other:
        try:
            other.bind(("127.1.0.1", 5986))
        except OSError as error:
            pytest.skip(f"127.1.0.1:5986 is taken: {error}")
        other.listen(1)
        async with lab_in([{"kind": "listing", "port": "closed"}]) as app:
            steps = await climbed(app)
    assert steps["tcp"].code == "tcp.refused"
    assert "5986 is open (scheme: https)" in steps["tcp"].fix


async def test_a_held_credential_is_explained(lab_in: Callable[..., Any]) -> None:
    async with lab_in([{"kind": "reject"}]) as app:
        climbs = [await climbed(app, epoch=round_id) for round_id in ("aa", "bb", "cc")]
    codes = [one["authentication"].code for one in climbs]
    assert codes[0] == "auth.rejected"
    steps = climbs[-1]
    assert steps["authentication"].code == "auth.held"
    assert steps["authentication"].detail.startswith("no logon was tried")
    assert "it calls itself" in steps["authentication"].detail  # asking for the challenge spends nothing
    assert steps["quota"].verdict == "skipped"


async def test_a_scheme_that_is_not_offered(lab_in: Callable[..., Any]) -> None:
    async with lab_in(scheme="https", site={"auth": "credssp", "transport": "pypsrp"}) as app:
        steps = await climbed(app)
    assert (steps["http"].verdict, steps["http"].code) == ("warning", "auth.scheme")
    assert "credssp" in steps["http"].fix
    assert steps["authentication"].verdict == "failed"
    sockets = [found for found in gc.get_objects() if isinstance(found, ssl.SSLSocket)]
    assert [found for found in sockets if found.fileno() != -1] == []


@pytest.mark.parametrize("transport", ["pypsrp", "pywinrm"])
async def test_other_transports_have_their_own_sessions(transport: str, lab_in: Callable[..., Any]) -> None:
    async with lab_in(site={"transport": transport}) as app:
        steps = await climbed(app)
    assert f"through {transport}" in steps["authentication"].detail
    assert steps["shell"].detail == app.settings.endpoints[0].name
    assert steps["cpu"].verdict == "ok"
    assert "language" not in steps


async def test_an_endpoint_that_is_read_by_wql_alone(lab_in: Callable[..., Any]) -> None:
    async with lab_in(site={"transport": "wql"}) as app:
        steps = await climbed(app)
    assert [steps[name].verdict for name in ("shell", "language", "quota", "cpu")] == ["skipped", "skipped", "ok", "ok"]
    assert "readable" in steps["rights"].detail


async def test_quotas_that_are_too_small_and_settings_that_are_not_safe(lab_in: Callable[..., Any]) -> None:
    values = {"MaxShellsPerUser": 2, "MaxEnvelopeSizekb": 32}
    async with lab_in([{"kind": "config", "values": values}]) as app:
        quota = (await climbed(app))["quota"]
    assert (quota.verdict, quota.code) == ("warning", "quota.tight")
    assert "MaxShellsPerUser is 2" in quota.fix
    assert "MaxEnvelopeSizekb is 32" in quota.fix


async def test_settings_of_the_service_that_are_not_safe(lab_in: Callable[..., Any]) -> None:
    async with lab_in([{"kind": "config", "values": {"AllowUnencrypted": "true", "Basic": "true"}}]) as app:
        quota = (await climbed(app))["quota"]
    assert (quota.verdict, quota.code) == ("warning", "quota.unsafe")
    assert "AllowUnencrypted, Basic" in quota.fix


async def test_the_limits_of_older_releases_are_shown_as_they_are(lab_in: Callable[..., Any]) -> None:
    async with lab_in([{"kind": "config", "older": True}]) as app:
        quota = (await climbed(app))["quota"]
    assert quota.facts["Winrs/MaxShellsPerUser"] == 5
    assert "MaxMemoryPerShellMB 150" in quota.detail
    assert quota.verdict == "ok"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_an_exception_in_force_is_a_warning(lab_in: Callable[..., Any]) -> None:
    one = {"endpoints": ["srv16dc-00001"], "allow": ["tls1.1"], "owner": "ops", "until": "2099-01-01"}
    plan = [{"kind": "tls", "how": "tls1.1"}]
    async with lab_in(plan, scheme="https", settings={"exceptions": [one]}) as app:
        steps = await climbed(app)
    assert (steps["tls"].verdict, steps["tls"].code) == ("warning", "tls.exception")
    assert steps["tls"].facts["version"] == "TLSv1.1"
    assert steps["authentication"].verdict == "ok"


def test_a_certificate_that_ends_soon() -> None:
    target = Target(
        endpoint="a", name="A", host="a", port=5986, scheme="https", transport="winrm", auth="ntlm", session="new",
        credential=Credential(name="c", username="u", secret=Secret("")),
    )  # fmt: skip
    soon = certificate.judged("x", {"version": "TLSv1.3", "days_left": 12}, target)
    assert (soon.verdict, soon.code) == ("warning", "tls.expires")
    assert "12 days" in soon.fix
    assert certificate.judged("x", {"version": "TLSv1.3", "days_left": 200}, target).verdict == "ok"


def test_the_way_of_an_address(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0105140A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0005140A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "tun0\t0000140A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert ground.way("10.20.5.9", routes) == ("eth0", "")
    assert ground.way("10.20.7.9", routes) == ("tun0", "")
    assert ground.way("8.8.8.8", routes) == ("eth0", "10.20.5.1")
    assert ground.way("127.0.0.1", routes) == ("lo", "")
    assert ground.way("2001:db8::1", routes) == ("", "")
    assert ground.way("8.8.8.8", tmp_path / "none") == ("", "")


def test_an_address_without_a_route() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("2001:db8::1", 5985))
        pytest.skip("this machine has a route to every IPv6 address")
    with pytest.raises(ConnectError) as caught:
        ground.route("2001:db8::1", 5985)
    assert caught.value.code == "tcp.no_route"
    assert "IPv6" in caught.value.hint


async def test_an_account_that_may_not_read_the_configuration(lab_in: Callable[..., Any]) -> None:
    async with lab_in([{"kind": "config", "denied": True}]) as app:
        quota = (await climbed(app))["quota"]
    assert (quota.verdict, quota.code) == ("warning", "quota.unknown")
    assert "may not read winrm/config" in quota.detail


async def test_no_shell_is_left_behind(lab_in: Callable[..., Any]) -> None:
    async with lab_in() as app:
        await climbed(app)
        port = app.targets.target(app.settings.endpoints[0]).port
        url = f"http://127.0.0.1:{port}/lab/stats"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())
    assert json.loads(text)["shells_open"] == 0
