"""Unmodified pypsrp and pywinrm drive the lab: what they accept is close enough to Windows."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import winrm
from pypsrp.exceptions import AuthenticationError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from winrm.exceptions import InvalidCredentialsError

IDENTIFY = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    "<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)


@pytest.fixture(autouse=True)
def no_bundle_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """pywinrm warns when it finds one, and warnings are errors here."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def wsman(lab: Any, index: int, **changes: Any) -> WSMan:
    values: dict[str, Any] = {
        "port": lab.http_port, "username": lab.username, "password": lab.password, "ssl": False,
        "auth": "negotiate", "encryption": "always",
    }  # fmt: skip
    return WSMan(lab.endpoints[index]["address"], **(values | changes))


def run(connection: WSMan, script: str) -> PowerShell:
    with connection, RunspacePool(connection) as pool:
        shell = PowerShell(pool)
        shell.add_script(script)
        shell.invoke()
        return shell


@pytest.mark.parametrize("auth", ["negotiate", "ntlm"])
def test_pypsrp_gets_the_name(lab: Any, auth: str) -> None:
    shell = run(wsman(lab, 20, auth=auth), "$env:COMPUTERNAME")
    assert shell.output == [lab.endpoints[20]["name"]]
    assert not shell.had_errors
    assert lab.stats()["shells_open"] == 0


def test_pypsrp_sees_an_error_that_does_not_end_the_script(lab: Any) -> None:
    shell = run(wsman(lab, 21), "#lab:error broken")
    assert shell.output == ["after"]
    assert [str(error) for error in shell.streams.error] == ["broken"]


def test_pypsrp_sees_an_error_that_ends_the_script(lab: Any) -> None:
    shell = run(wsman(lab, 21), "#lab:throw stop here")
    assert shell.output == ["before"]
    assert shell.had_errors
    assert "stop here" in str(shell.streams.error[-1])


def test_pypsrp_gets_a_megabyte(lab: Any) -> None:
    text = str(run(wsman(lab, 22), "#lab:size 1000000").output[0])
    assert len(text) == 1_000_000
    assert text.startswith(f"{lab.endpoints[22]['name']} ")


def test_a_wrong_password_is_rejected(lab: Any) -> None:
    with pytest.raises(AuthenticationError):
        run(wsman(lab, 23, password="not it"), "$env:COMPUTERNAME")
    session = winrm.Session(
        f"http://{lab.endpoints[23]['address']}:{lab.http_port}/wsman",
        auth=(lab.username, "not it"),
        transport="ntlm",
        message_encryption="always",
    )
    with pytest.raises(InvalidCredentialsError):
        session.run_ps("$env:COMPUTERNAME")


def test_basic_over_tls(lab: Any) -> None:
    shell = run(
        wsman(lab, 24, port=lab.https_port, ssl=True, auth="basic", encryption="auto", cert_validation=lab.ca_file),
        "$env:COMPUTERNAME",
    )
    assert shell.output == [lab.endpoints[24]["name"]]


def test_pywinrm_runs_powershell(lab: Any) -> None:
    session = winrm.Session(
        f"http://{lab.endpoints[25]['address']}:{lab.http_port}/wsman",
        auth=(lab.username, lab.password),
        transport="ntlm",
        message_encryption="always",
    )
    answer = session.run_ps("$env:COMPUTERNAME")
    assert answer.status_code == 0
    assert answer.std_out.decode().strip() == lab.endpoints[25]["name"]


def test_what_is_offered_without_a_logon(lab: Any) -> None:
    address = lab.endpoints[26]["address"]
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Content-Type": "application/soap+xml;charset=UTF-8"}
        plain = session.post(f"http://{address}:{lab.http_port}/wsman", data=b"<x/>", headers=headers, timeout=10)
        secure = session.post(
            f"https://{address}:{lab.https_port}/wsman", data=b"<x/>", headers=headers, timeout=10, verify=lab.ca_file
        )
        basic = session.post(
            f"http://{address}:{lab.http_port}/wsman",
            data=b"<x/>",
            headers=headers,
            auth=(lab.username, lab.password),
            timeout=10,
        )
    assert (plain.status_code, secure.status_code) == (401, 401)
    assert "Negotiate" in plain.headers["WWW-Authenticate"]
    assert "Basic" not in plain.headers["WWW-Authenticate"]
    assert "Basic" in secure.headers["WWW-Authenticate"]
    assert "CredSSP" not in plain.headers["WWW-Authenticate"] + secure.headers["WWW-Authenticate"]
    assert basic.status_code == 401  # a password in clear is not even looked at


def test_unencrypted_messages_are_refused_on_plain_http(lab: Any) -> None:
    with pytest.raises(Exception, match=r"(?i)500|encrypt|response|401"):
        run(wsman(lab, 27, encryption="never"), "$env:COMPUTERNAME")
    assert lab.stats()["shells_open"] == 0


def test_identify(lab: Any) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"http://{lab.endpoints[28]['address']}:{lab.http_port}/wsman-anon/identify",
            data=IDENTIFY,
            headers={"Content-Type": "application/soap+xml;charset=UTF-8", "WSMANIDENTIFY": "unauthenticated"},
            timeout=10,
        )
    assert answer.status_code == 200
    assert "IdentifyResponse" in answer.text
    assert "Microsoft Corporation" in answer.text
