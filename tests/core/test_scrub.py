"""What a recording is relieved of, and what it keeps."""

from __future__ import annotations

import json
import time

import pytest

from rmm.core.scrub import Scrubber, visit


def scrub(*texts: str, names: bool = True, account: str = "CORP\\svc-poll", secret: str = "") -> list[str]:
    scrubber = Scrubber(account, secret, names=names)
    scrubber.learn_machine(["srv01.corp.example.net", "SRV01", "SRV01", "10.1.2.3"], "CORP")
    for text in texts:
        scrubber.learn(text)
    return [scrubber.text(text) for text in texts]


def part(**document: object) -> str:
    text = json.dumps({"collector": "os", "host": "SRV01", "document": document}, separators=(",", ":"))
    return f"<S>{text}</S>"


def test_names_of_the_machine_and_its_domain() -> None:
    (text,) = scrub(
        part(os=[{"CSName": "SRV01", "Dns": "srv01.corp.example.net", "Share": "\\\\SRV01\\c$", "Other": "XSRV012"}])
    )
    assert text == part(
        os=[{"CSName": "HOST1", "Dns": "HOST1.domain1.example", "Share": "\\\\HOST1\\c$", "Other": "XSRV012"}]
    ).replace("SRV01", "HOST1", 1)


def test_the_account_goes_in_every_spelling_and_always() -> None:
    texts = (
        "<rsp:Owner>CORP\\svc-poll</rsp:Owner>",
        part(a=[{"x": "CORP\\svc-poll", "y": "svc-poll@corp", "z": "C:\\Users\\svc-poll\\AppData"}]),
        "<S>_x000A_svc-poll_x000A_</S>",
    )
    for names in (True, False):
        for text in scrub(*texts, names=names):
            assert "svc-poll" not in text
            assert "USER1" in text
    assert scrub(texts[0], names=False) == ["<rsp:Owner>DOMAIN1\\USER1</rsp:Owner>"]
    assert json.loads(scrub(texts[1])[0][3:-4])["document"]["a"][0]["x"] == "DOMAIN1\\USER1"


def test_what_stands_under_a_telling_key_is_replaced_everywhere() -> None:
    first, second = scrub(
        part(bios=[{"SerialNumber": "5CD1234XYZ"}], product=[{"UUID": "4C4C4544-0042-3510-8052-B4C04F4D4E32"}]),
        part(x=[{"Tag": "asset 5cd1234xyz", "Path": "4c4c4544-0042-3510-8052-b4c04f4d4e32"}]),
    )
    assert "SERIAL1" in first
    assert '"Tag":"asset SERIAL1"' in second
    assert '"Path":"00000000-0000-4000-8000-000000000001"' in second


def test_addresses_but_not_versions() -> None:
    (text,) = scrub(
        part(
            n=[
                {"IPAddress": ["10.1.2.3", "10.9.9.9", "fe80::1"], "Version": "10.0.1.7"}
                | {"Gateway": "via 10.9.9.9", "Own": "127.0.0.1"}
            ]
        )
    )
    row = json.loads(text[3:-4])["document"]["n"][0]
    assert row["IPAddress"][0].startswith("198.18.")
    assert row["IPAddress"][1] != row["IPAddress"][0]
    assert row["Gateway"] == f"via {row['IPAddress'][1]}"
    assert row["IPAddress"][2].startswith("2001:db8::")
    assert (row["Version"], row["Own"]) == ("10.0.1.7", "127.0.0.1")


def test_sids_mac_addresses_volumes_and_other_accounts() -> None:
    (text,) = scrub(
        part(
            a=[
                {"Sid": "S-1-5-21-111-222-333-500", "System": "S-1-5-18", "MACAddress": "AA:BB:CC:DD:EE:0F"},
                {"Sid": "S-1-5-21-111-222-333-501", "Mac": "AA-BB-CC-DD-EE-0F", "StartName": "CORP\\svc-sql"},
                {"Name": "\\\\?\\Volume{0a1b2c3d-0000-0000-0000-100000000000}\\", "StartName": "NT AUTHORITY\\System"},
            ]
        )
    )
    first, second, third = json.loads(text[3:-4])["document"]["a"]
    assert first["Sid"] == "S-1-5-21-0-0-1-500"
    assert second["Sid"] == "S-1-5-21-0-0-1-501"
    assert first["System"] == "S-1-5-18"
    assert first["MACAddress"] == "02:00:00:00:00:01"
    assert second["Mac"] != "AA-BB-CC-DD-EE-0F"
    assert second["StartName"] == "DOMAIN1\\USER2"
    assert third == {
        "Name": "\\\\?\\Volume{00000000-0000-4000-9000-000000000001}\\", "StartName": "NT AUTHORITY\\System",
    }  # fmt: skip


def test_json_s_keys_and_the_collector_s_name_stay() -> None:
    (text,) = scrub('<S>{"collector":"os","os":"os","n":1.50}</S>', account="os")
    assert text == '<S>{"collector":"os","os":"USER1","n":1.50}</S>'


def test_the_secret_is_replaced_where_an_endpoint_shows_it() -> None:
    assert scrub("<S>net use x Pa55word&amp;more</S>", secret="Pa55word&more") == ["<S>net use x SECRET</S>"]


def test_faults_name_their_machine_in_an_attribute() -> None:
    fault = '<f:WSManFault Code="5" Machine="srv01.corp.example.net"><f:Message>srv01</f:Message></f:WSManFault>'
    assert scrub(fault) == [
        '<f:WSManFault Code="5" Machine="HOST1.domain1.example"><f:Message>HOST1</f:Message></f:WSManFault>'
    ]


def test_other_hosts_get_stand_ins_of_their_own() -> None:
    (text,) = scrub(part(a=[{"PSComputerName": "SRV01"}, {"PSComputerName": "FILE-7"}, {"x": "\\\\file-7\\pub"}]))
    assert "FILE-7" not in text
    assert text.count("HOST2") == 2


HOSTILE = [
    '"' * 200_000, "<a " * 100_000, '{"' + "\\" * 300_000, "<a>" + "{" * 300_000, "S-1-5-21-" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=["quotes", "tags", "backslashes", "braces", "sids"])
def test_hostile_texts_take_no_long_time(text: str) -> None:
    began = time.perf_counter()
    visit(text, lambda key, value: value)
    scrub(text)
    assert time.perf_counter() - began < 5
