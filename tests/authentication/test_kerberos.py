"""Kerberos against a real KDC and a lab that accepts its tickets: schemes, binding, names, renewal, several realms."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kdc import OTHER, REALM, Kdc
from kerberos_lab import KerberosLab, lab_with, service_keytab

from rmm.errors import AuthError, AuthHeld, RmmError
from rmm.lab.wire.kerberos import krb_error
from rmm.model.endpoint import Credential, Secret
from rmm.ports import Script
from rmm.transports.winrm import WinrmTransport

CANARY = "C4nary-of-a-bad-logon"
NAME = Script("$env:COMPUTERNAME")


class Gate:
    """Counts; lets everyone through."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Gate]:
        self.log.append(host)
        yield self

    def accepted(self) -> None:
        self.log.append("accepted")

    def rejected(self) -> None:
        self.log.append("rejected")

    def unsent(self) -> None: ...


class Client:
    """The native transport with its gate."""

    def __init__(self, lab: KerberosLab) -> None:
        self.lab = lab
        self.gate = Gate()
        self.transport = WinrmTransport(self.gate)

    async def name(self, index: int = 0, *, seconds: float = 20.0, **changes: Any) -> Any:
        """The machine's name, as it says it, or the error."""
        target = self.lab.target(index, **changes)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with self.transport.session(target, deadline=deadline) as session:
                result = await session.run(NAME, deadline=deadline)
        except RmmError as error:
            return error
        return result.output[0]

    def right(self, index: int = 0) -> str:
        return str(self.lab.fleet[index].name)


@pytest.fixture
async def client(kdc: Kdc, tmp_path: Path) -> AsyncIterator[Client]:
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
        one = Client(lab)
        yield one
        await one.transport.aclose()


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_poll_by_kerberos(client: Client, auth: str, scheme: str) -> None:
    before = await client.lab.stats()
    assert await client.name(auth=auth, scheme=scheme) == client.right()
    assert client.gate.log == [REALM, "accepted"]
    after = await client.lab.stats()
    assert after["unencrypted"] == before["unencrypted"]
    assert after["logons_rejected"] == before["logons_rejected"]


async def test_one_ticket_for_all_endpoints(client: Client, kdc: Kdc) -> None:
    before = len(as_requests(kdc))
    seen = await asyncio.gather(*(client.name(index) for index in (0, 1, 2, 3) * 3))
    assert seen == [client.right(index) for index in (0, 1, 2, 3) * 3]
    assert len(as_requests(kdc)) == before + 1
    assert client.gate.log == [REALM, "accepted"]


def as_requests(kdc: Kdc, word: str = "ISSUE") -> list[str]:
    return [line for line in kdc.log().splitlines() if "AS_REQ" in line and f": {word}: " in line]


async def test_a_wrong_password_is_one_bad_logon(client: Client, kdc: Kdc) -> None:
    before = len(as_requests(kdc, "PREAUTH_FAILED"))
    seen = await asyncio.gather(*(client.name(index % 4, secret="wrong") for index in range(20)))
    assert len(as_requests(kdc, "PREAUTH_FAILED")) == before + 1
    assert client.gate.log == [REALM, "rejected"]
    assert [type(error).__name__ for error in seen].count("AuthHeld") == 19
    (told,) = [error for error in seen if not isinstance(error, AuthHeld)]
    assert (told.code, told.status, told.retry) == ("auth.rejected", "AUTH_REJECTED", "RH")
    assert (await client.lab.stats())["logons_rejected"] == 0


@pytest.mark.parametrize(
    ("account", "code", "status"),
    [
        ("disabled", "auth.locked", "AUTH_HELD"),
        ("expired", "auth.expired", "AUTH_REJECTED"),
        ("mustchange", "auth.expired", "AUTH_REJECTED"),
        ("gone", "auth.expired", "AUTH_REJECTED"),
        ("nobody", "kdc.unknown_account", "CONFIG"),
    ],
)
async def test_what_the_kdc_says_of_an_account(client: Client, account: str, code: str, status: str) -> None:
    credential = Credential(name="x", username=f"{account}@{REALM}", secret=Secret(Kdc.password))
    error = await client.name(credential=credential)
    assert isinstance(error, AuthError)
    assert (error.code, error.status) == (code, status)
    assert (client.gate.log[1:] == ["rejected"]) == (code != "kdc.unknown_account")
    # Negotiate: no NTLM after a refusal; an account that the KDC does not know may still be known elsewhere.
    client.gate.log.clear()
    error = await client.name(1, credential=credential, auth="negotiate")
    assert error.code == ("auth.rejected" if code == "kdc.unknown_account" else AuthHeld.code)


async def test_locked_by_others(client: Client, kdc: Kdc) -> None:
    locked = Credential(name="x", username=f"locked@{REALM}", secret=Secret(Kdc.password), version="0")
    for version in "12":
        wrong = Credential(name="x", username=f"locked@{REALM}", secret=Secret("no"), version=version)
        assert (await client.name(credential=wrong)).code == "auth.rejected"
    assert (await client.name(credential=locked)).code == "auth.locked"
    assert "LOCKED_OUT: locked" in kdc.log()


async def test_several_realms_in_one_process(client: Client) -> None:
    other = Credential(name="o", username=f"rmm@{OTHER.lower()}", secret=Secret(Kdc.password))
    ours, theirs = await asyncio.gather(client.name(0), client.name(1, credential=other))
    assert (ours, theirs) == (client.right(0), client.right(1))  # the second by the trust between the realms
    assert sorted(client.gate.log) == sorted([REALM, "accepted", OTHER, "accepted"])


async def test_a_keytab_and_a_cache(client: Client, kdc: Kdc, tmp_path: Path) -> None:
    keytab = kdc.keytab(tmp_path / "rmm.keytab", ["rmm"])
    by_key = Credential(name="k", username=f"rmm@{REALM}", secret=Secret(""), kind="keytab", key_file=str(keytab))
    assert await client.name(credential=by_key) == client.right()
    missing = Credential(name="k", username=f"rmm@{REALM}", secret=Secret(""), kind="keytab", key_file="/nowhere")
    assert (await client.name(credential=missing)).code == "auth.keytab"
    another = kdc.keytab(tmp_path / "gone.keytab", ["gone"])
    of_another = Credential(name="k", username=f"rmm@{REALM}", secret=Secret(""), kind="keytab", key_file=str(another))
    assert (await client.name(credential=of_another)).code == "auth.keytab"

    cache = tmp_path / "cache"
    empty = Credential(name="c", username=f"rmm@{REALM}", secret=Secret(""), kind="ccache", key_file=f"FILE:{cache}")
    assert (await client.name(credential=empty)).code == "auth.ticket"
    await asyncio.create_subprocess_exec("true")
    kinit = await asyncio.create_subprocess_exec("kinit", "-kt", str(keytab), "-c", f"FILE:{cache}", f"rmm@{REALM}")
    assert await kinit.wait() == 0
    named = Credential(name="d", username=f"rmm@{REALM}", secret=Secret(""), kind="ccache", key_file=f"FILE:{cache}")
    client.gate.log.clear()
    assert await client.name(credential=named) == client.right()
    assert client.gate.log == []  # a cache that others keep proves nothing of a secret of ours


async def test_ip_addresses_and_unknown_services(client: Client) -> None:
    error = await client.name(name="SRV01")  # neither address nor name has a domain
    assert (error.code, error.status, error.retry) == ("kdc.unknown_service", "CONFIG", "R0")
    assert "FQDN" in error.hint
    error = await client.name(spn="NOSUCH")
    assert error.code == "kdc.unknown_service"


async def test_another_service_class(kdc: Kdc, tmp_path: Path) -> None:
    service_keytab(kdc, tmp_path / "other")
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services", "WSMAN")) as lab:
        client = Client(lab)
        assert await client.name(spn="WSMAN") == client.right()
        assert (await client.name()).code == "auth.wrong_principal"  # it has no key of HTTP
        await client.transport.aclose()


async def test_a_ticket_for_another_machine(client: Client) -> None:
    other = client.lab.fleet[1]
    error = await client.name(0, name=other.dns_name)  # DNS gave the address of the first for the name of the second
    assert (error.code, error.status, error.retry) == ("auth.wrong_principal", "CONFIG", "RH")
    assert "setspn -Q" in error.hint
    assert client.gate.log == [REALM, "accepted"]  # no bad logon of ours


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
async def test_the_channel_binding(kdc: Kdc, tmp_path: Path, auth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keytab = service_keytab(kdc, tmp_path / "services")
    strict = tmp_path / "strict.yaml"
    strict.write_text("faults:\n  - {kind: logon, how: cbt_strict, share: 1.0}\n", encoding="utf-8")
    async with lab_with(tmp_path / "lab", keytab, faults=strict) as lab:
        client = Client(lab)
        assert await client.name(scheme="https", auth=auth) == client.right()
        await client.transport.aclose()
        for wrong in (b"", b"tls-server-end-point:" + bytes(32)):
            monkeypatch.setattr("rmm.transports.winrm.auth._binding", lambda _, wrong=wrong: wrong)
            client = Client(lab)
            error = await client.name(scheme="https", auth=auth)
            assert (error.code, error.status) == ("auth.rejected", "AUTH_REJECTED")
            assert "channel binding" in error.hint
            assert client.gate.log == [REALM, "accepted"]
            await client.transport.aclose()


async def test_kerberos_where_only_ntlm_is_offered(kdc: Kdc, tmp_path: Path) -> None:
    service_keytab(kdc, tmp_path / "services")
    async with lab_with(tmp_path / "lab", None) as lab:
        client = Client(lab)
        error = await client.name()
        assert (error.code, error.status, error.retry) == ("auth.scheme", "CONFIG", "R0")
        await client.transport.aclose()


async def test_negotiate_falls_back_only_where_kerberos_is_not_possible(
    client: Client, kdc: Kdc, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Credential(name="lab", username=client.lab.info.username, secret=Secret(client.lab.info.password))
    unknown = Credential(name="l", username=f"rmm@{REALM}", secret=Secret(client.lab.info.password))
    # A wrong password at the KDC that would be right for NTLM: refused is refused.
    assert (await client.name(auth="negotiate", credential=unknown)).code == "auth.rejected"
    # No realm that anybody knows, and no SPN: NTLM, and the log says why.
    assert await client.name(auth="negotiate", credential=lab) == client.right()
    assert "auth.realm" in caplog.text
    # Only what the site lists.
    error = await client.name(auth="negotiate", credential=lab, negotiate=("kerberos",))
    assert error.code == "auth.realm"
    assert await client.name(auth="negotiate", credential=lab, negotiate=("ntlm", "kerberos")) == client.right()


async def test_renewal_at_80_percent(own_kdc: Callable[..., Kdc], tmp_path: Path) -> None:
    kdc = own_kdc(life="10s")
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
        client = Client(lab)
        began = time.monotonic()
        assert await client.name() == client.right()
        while time.monotonic() - began < 7:
            assert await client.name(1) == client.right(1)
            await asyncio.sleep(0.5)
        assert len(as_requests(kdc)) == 1
        while time.monotonic() - began < 9.5:
            assert await client.name(1) == client.right(1)
            await asyncio.sleep(0.25)
        assert len(as_requests(kdc)) == 2
        while time.monotonic() - began < 12:  # the first ticket has ended; nobody notices
            assert await client.name(1) == client.right(1)
            await asyncio.sleep(0.25)
        await client.transport.aclose()


async def test_a_kept_connection_ends_with_its_ticket(own_kdc: Callable[..., Kdc], tmp_path: Path) -> None:
    kdc = own_kdc(life="3s")
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
        client = Client(lab)
        assert await client.name(session="connection") == client.right()
        assert await client.name(session="connection") == client.right()
        assert (await lab.stats())["connections"] == 1
        await asyncio.sleep(3.5)
        assert await client.name(session="connection") == client.right()
        assert (await lab.stats())["connections"] == 2
        await client.transport.aclose()


async def test_no_kdc(own_kdc: Callable[..., Kdc], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kdc = own_kdc()
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
        kdc.stop()
        client = Client(lab)
        error = await client.name()
        assert (error.code, error.status, error.retry) == ("kdc.unreachable", "COLLECTOR_FAULT", "RB")
        assert client.gate.log == [REALM]  # the outcome is unknown, and no secret left
        # Where policy says so, NTLM; of a realm whose name is the lab's domain, so that its account is known there.
        kdc.krb5_conf(kdc.folder / "krb5.conf", ports={"LAB": kdc.ports[REALM]})
        right = Credential(name="l", username=lab.info.username, secret=Secret(lab.info.password))
        assert await client.name(auth="negotiate", credential=right) == client.right()
        assert "kdc.unreachable" in caplog.text
        await client.transport.aclose()


async def test_a_kdc_that_does_not_answer_holds_nobody_up(own_kdc: Callable[..., Kdc], tmp_path: Path) -> None:
    import threading

    kdc = own_kdc()
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
        client = Client(lab)
        assert await client.name() == client.right()
        kdc.pause()
        try:
            before = threading.active_count()
            began = time.monotonic()
            # A logon that waits for the KDC, and hundreds that need tickets for services.
            stuck = client.name(2, secret="other", seconds=4)
            seen = await asyncio.gather(stuck, *(client.name(index % 2 + 1, seconds=4) for index in range(100)))
            assert time.monotonic() - began < 6
            assert {error.code for error in seen} == {"kdc.unreachable"}
            assert threading.active_count() <= before + 8
            began = time.monotonic()
            assert (await client.name(1, seconds=4)).code == "kdc.unreachable"  # known by now
            assert time.monotonic() - began < 1
        finally:
            kdc.resume()
        await client.transport.aclose()


async def test_a_logon_that_was_given_up_does_not_send_the_password_later(
    own_kdc: Callable[..., Kdc], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmm.transports.winrm.logons.KDC_S", 1.0)
    kdc = own_kdc()
    async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
        client = Client(lab)
        kdc.pause()
        assert (await client.name(secret="wrong", seconds=5)).code == "kdc.unreachable"
        kdc.resume()
        await asyncio.sleep(4)  # libkrb5 asks again, and gets its answer now
        assert as_requests(kdc, "NEEDED_PREAUTH")
        assert not as_requests(kdc, "PREAUTH_FAILED")
        await client.transport.aclose()


async def test_clocks_that_differ(own_kdc: Callable[..., Kdc], tmp_path: Path) -> None:
    pytest.importorskip("krb5")
    stub = SkewedKdc()
    async with stub:
        kdc = own_kdc()
        kdc.krb5_conf(kdc.folder / "krb5.conf", ports={REALM: stub.port})
        async with lab_with(tmp_path / "lab", service_keytab(kdc, tmp_path / "services")) as lab:
            client = Client(lab)
            error = await client.name(auth="negotiate")
            assert (error.code, error.status, error.retry) == ("kdc.skew", "CONFIG", "RB")
            assert client.gate.log == [REALM]  # no bad logon, and no NTLM instead
            await client.transport.aclose()


class SkewedKdc:
    """Answers everything with KRB-ERROR 37 (RFC 4120 5.9.1), written by hand: what a KDC says that is an hour ahead."""

    port = 0

    async def __aenter__(self) -> SkewedKdc:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Answering(krb_error(37, realm=REALM, ahead_s=3600)), sock=self._socket
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._transport.sendto(self._answer, address)


# pypsrp leaves its connection to the garbage collector where no context can be made.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_pypsrp_by_the_same_tickets(client: Client, kdc: Kdc, tmp_path: Path) -> None:
    from rmm.app import build

    gate = Gate()
    transport: Any = build("transports", "pypsrp", gate=gate)
    before = len(as_requests(kdc))

    async def name(**changes: Any) -> Any:
        target = client.lab.target(**({"transport": "pypsrp"} | changes))
        deadline = asyncio.get_running_loop().time() + 20
        try:
            async with transport.session(target, deadline=deadline) as session:
                return (await session.run(NAME, deadline=deadline)).output[0]
        except RmmError as error:
            return error

    keytab = kdc.keytab(tmp_path / "rmm.keytab", ["rmm"])
    by_key = Credential(name="k", username=f"rmm@{REALM}", secret=Secret(""), kind="keytab", key_file=str(keytab))
    assert await name() == client.right()
    assert await name(auth="negotiate") == client.right()
    assert await name(scheme="https") == client.right()
    assert gate.log == [REALM, "accepted"]
    assert len(as_requests(kdc)) == before + 1
    assert await name(credential=by_key) == client.right()
    error = await name(spn="NOSUCH", credential=by_key)
    assert (error.code, error.status) == ("kdc.unknown_service", "CONFIG")
    del error
    gc.collect()
    error = await name(credential=msgspec.structs.replace(by_key, kind="password", secret=Secret("wrong")))
    assert error.code == "auth.rejected"
    assert gate.log[-1] == "rejected"
    await transport.aclose()


async def test_the_password_is_in_no_log_and_no_traceback(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", logger="spnego")  # which the command line, in tests before this one, keeps silent
    assert await client.name(auth="negotiate") == client.right()
    bad = Credential(name="b", username=f"rmm@{REALM}", secret=Secret(CANARY))
    error = await client.name(credential=bad)
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "TicketError" in told
    assert len(caplog.text) > 1000
    for secret in (Kdc.password, CANARY):
        assert secret not in caplog.text
        assert secret not in told
