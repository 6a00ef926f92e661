"""The spool: acknowledged means readable again, whatever happens in between."""

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmm.errors import TierError
from rmm.tiers.spool import MAGIC, Spool


def record(number: int) -> bytes:
    return b'{"n":%d,"filling":"%s"}' % (number, b"x" * (number % 500))


async def fill(folder: Path, count: int) -> list[bytes]:
    async with Spool(folder) as spool:
        await asyncio.gather(*(spool.append(record(number)) for number in range(count)))
    return [record(number) for number in range(count)]


async def test_what_was_appended_comes_back_in_order(tmp_path: Path) -> None:
    expected = await fill(tmp_path, 300)
    async with Spool(tmp_path) as spool:
        assert list(spool.replay()) == expected
        await spool.append(b'{"later":1}')
        assert list(spool.replay()) == [*expected, b'{"later":1}']
        spool.release(spool.seal())
        assert list(spool.replay()) == []
        await spool.append(b'{"after":1}')
        assert list(spool.replay()) == [b'{"after":1}']


async def test_many_appends_share_an_fsync(tmp_path: Path) -> None:
    began = time.perf_counter()
    await fill(tmp_path, 1000)
    assert time.perf_counter() - began < 1.0  # a thousand single fsyncs would take several


async def test_every_torn_tail_is_passed_over(tmp_path: Path) -> None:
    expected = await fill(tmp_path, 3)
    (segment,) = tmp_path.glob("*.spool")
    whole = segment.read_bytes()
    sizes = {len(MAGIC): 0}
    end = len(MAGIC)
    for number, payload in enumerate(expected, start=1):
        end += 8 + len(payload)
        sizes[end] = number
    for cut in range(len(whole)):
        segment.write_bytes(whole[:cut])
        spool = Spool(tmp_path)
        got = list(spool.replay())
        assert got == expected[: len(got)]
        assert len(got) == max((count for size, count in sizes.items() if size <= cut), default=0)
        assert spool.damaged == 0


async def test_a_flipped_bit_costs_one_record_and_is_kept_aside(tmp_path: Path) -> None:
    expected = await fill(tmp_path, 5)
    (segment,) = tmp_path.glob("*.spool")
    whole = segment.read_bytes()
    for position in range(len(MAGIC), len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        segment.write_bytes(damaged)
        spool = Spool(tmp_path)
        got = list(spool.replay())
        assert len(got) == 4
        assert set(got) < set(expected)
        # A wrong length in the last record cannot be told from a torn tail, which is no damage.
        last = len(whole) - 8 - len(expected[-1])
        torn = last <= position < last + 4
        assert (spool.damaged, spool.torn) == ((0, 1) if torn else (1, 0))
        kept = list(tmp_path.glob("*.damaged"))
        assert len(kept) == (0 if torn else 1)
        assert all(path.read_bytes() in bytes(damaged) for path in kept)
        assert list(spool.replay()) == got
        assert list(tmp_path.glob("*.damaged")) == kept  # not once more
        for path in kept:
            path.unlink()


async def test_zeros_behind_the_last_record_are_a_torn_tail(tmp_path: Path) -> None:
    expected = await fill(tmp_path, 3)
    (segment,) = tmp_path.glob("*.spool")
    segment.write_bytes(segment.read_bytes() + bytes(4096))
    spool = Spool(tmp_path)
    assert list(spool.replay()) == expected
    assert (spool.damaged, spool.torn) == (0, 1)


async def test_a_release_spares_what_came_after_its_seal(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await spool.append(b'{"n":1}')
        mark = spool.seal()
        await spool.append(b'{"n":2}')
        spool.release(mark)
        assert list(spool.replay()) == [b'{"n":2}']
        flying = asyncio.create_task(spool.append(b'{"n":3}'))
        await asyncio.sleep(0)
        mark = spool.seal()  # neither 2, whose segment 3 may join, nor 3 itself
        await flying
        spool.release(mark)
        assert list(spool.replay()) == [b'{"n":2}', b'{"n":3}']
        spool.release(spool.seal())
        assert list(spool.replay()) == []


async def test_segments_rotate_and_numbers_are_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.tiers.spool.SEGMENT_BYTES", 100)
    async with Spool(tmp_path) as spool:
        for number in range(5):
            await spool.append(record(100 + number))
        assert len(list(tmp_path.glob("*.spool"))) == 5
        assert list(spool.replay()) == [record(100 + number) for number in range(5)]
    for path in tmp_path.glob("*.spool"):
        path.rename(path.with_name(f"{path.stem}-8.damaged"))
    async with Spool(tmp_path) as spool:
        await spool.append(b"{}")
        assert [path.name for path in tmp_path.glob("*.spool")] == ["0000000006.spool"]


async def test_a_record_that_cannot_be_read_back_is_refused(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        with pytest.raises(TierError):
            await spool.append(b"")


async def test_after_a_failure_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    async with Spool(tmp_path / "spool") as spool:
        await spool.append(b'{"n":1}')
        os.close(spool._descriptor)  # as if the device had gone
        spool._descriptor = os.open(tmp_path / "spool" / "0000000001.spool", os.O_RDONLY)
        outcomes = await asyncio.gather(*(spool.append(b'{"n":2}') for _ in range(3)), return_exceptions=True)
        assert all(isinstance(outcome, TierError) for outcome in outcomes)
        with pytest.raises(TierError):
            await spool.append(b'{"n":3}')
    assert list(Spool(tmp_path / "spool").replay()) == [b'{"n":1}']


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is a POSIX limit")
async def test_a_full_disk_is_an_error_and_no_acknowledgement(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, resource, signal, sys\n"
        "from rmm.tiers.spool import Spool\n"
        "from rmm.errors import TierError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "async def main():\n"
        "    async with Spool(pathlib.Path(sys.argv[1])) as spool:\n"
        "        for number in range(100):\n"
        "            try:\n"
        '                await spool.append(b\'{"n":%d,"x":"%s"}\' % (number, b\'x\' * 990))\n'
        "                print(number, flush=True)\n"
        "            except TierError as error:\n"
        "                print('failed', error.code, flush=True); break\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.split("\n")[:-1]
    assert lines[-1].startswith("failed disk.")
    acknowledged = len(lines) - 1
    assert 0 < acknowledged < 100
    assert len(list(Spool(tmp_path).replay())) >= acknowledged


async def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where a folder should be")
    async with Spool(tmp_path / "spool" / "hq" / "0") as spool:
        with pytest.raises(TierError, match="spool"):
            await spool.append(b"{}")


WRITER = """
import asyncio, pathlib, sys
from rmm.tiers.spool import Spool
async def main():
    async with Spool(pathlib.Path(sys.argv[1])) as spool:
        async def one(first):
            number = first
            while True:
                await spool.append(b'{"n":%d,"x":"%s"}' % (number, b'x' * 3000))
                print(number, flush=True)
                number += 8
        await asyncio.gather(*(one(int(sys.argv[2]) + n) for n in range(8)))
asyncio.run(main())
"""


@pytest.mark.crash
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for turn in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(turn * 1_000_000)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.random() * 0.1)
        process.kill()  # SIGKILL; TerminateProcess on Windows
        text = first + process.stdout.read()
        process.stdout.close()
        process.wait()
        acknowledged |= {int(line) for line in text.split(b"\n")[:-1] if line.strip().isdigit()}
    spool = Spool(tmp_path)
    kept = {int(data.split(b",")[0].split(b":")[1]) for data in spool.replay()}
    assert len(acknowledged) > 100
    assert acknowledged <= kept
    assert spool.damaged == 0
