"""What Microsoft's own PSRP server says, every serialised type, through our decoder and psrpcore's."""

from __future__ import annotations

import base64
import lzma
import re
import tarfile
from pathlib import Path

import pytest

from rmm.ports import ErrorRecord
from rmm.transports.winrm import psrp

ARCHIVE = Path(__file__).parent.parent / "data" / "powershell-recordings.tar.xz"


def recordings() -> dict[str, list[bytes]]:
    found = {}
    with lzma.open(ARCHIVE) as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                lines = file.read().decode().splitlines()
                data = [re.search(r">([A-Za-z0-9+/=]+)</Data>", line) for line in lines if line.startswith("< <Data")]
                found[Path(member.name).stem] = [base64.b64decode(one[1]) for one in data if one]
    return found


RECORDINGS = recordings()


def run(name: str) -> tuple[list[object], list[ErrorRecord], list[int]]:
    defragment, output, errors, states = psrp.Defragmenter(), [], [], []
    for data in RECORDINGS[name]:
        for message in defragment.feed(data):
            if message.kind == psrp.PIPELINE_OUTPUT:
                output.append(psrp.output_of(message))
            elif message.kind == psrp.PIPELINE_STATE:
                states.append(psrp.state_of(message))
                record = psrp.error_record(message)
                if record:
                    errors.append(record)
            elif message.kind == psrp.ERROR_RECORD:
                record = psrp.error_record(message)
                assert record is not None
                errors.append(record)
    return output, errors, states


def test_text() -> None:
    output, _, states = run("text")
    assert "caf\u00e9" in output
    assert "_x0041_" in str(output)
    assert '<&>"' in output
    assert "" in output
    assert states[-1] == psrp.COMPLETED


def test_a_large_string() -> None:
    output, _, _ = run("large")
    assert [len(str(item)) for item in output] == [196_608]


def test_errors_have_their_language_independent_parts() -> None:
    _, errors, states = run("errors")
    assert len(errors) == 3
    assert any("CommandNotFoundException" in error.error_id for error in errors)
    assert any(error.category == "ObjectNotFound" for error in errors)
    assert all(error.message for error in errors)
    assert states[-1] == psrp.COMPLETED


def test_a_terminating_error_is_in_the_state() -> None:
    output, errors, states = run("terminating")
    assert states[-1] == psrp.FAILED
    assert output
    assert "cannot go on" in errors[-1].message


def test_a_client_that_goes_at_once_hears_nothing_of_its_pipeline() -> None:
    # This recording ends before the server says anything: only the session's Close is answered. That a stopped
    # pipeline ends as stopped is therefore not shown here.
    assert RECORDINGS["stop"] == []
    assert run("stop") == ([], [], [])


def test_arguments_and_input() -> None:
    assert run("arguments")[0] == ["Int32", "five", True, 1, 2, 2024]
    assert run("input")[0] == [10, 20, 30]


@pytest.mark.parametrize("name", ["types", "containers", "streams"])
def test_every_type_is_read_without_an_error(name: str) -> None:
    output, _, states = run(name)
    assert states[-1] == psrp.COMPLETED
    assert output
