"""The two lanes: what is slow, who leaves the fast one, and that places are neither lost nor made."""

import asyncio

import pytest

from rmm.poller import lanes
from rmm.poller.lanes import SlowLane, open_files, sizes

resource = pytest.importorskip("resource", reason="Windows has no limit of open files")


@pytest.mark.parametrize(
    ("concurrency", "files", "fast", "slow"),
    [(25, 65_536, 25, 100), (100, 65_536, 100, 400), (500, 256, 89, 90), (500, 1024, 358, 358), (5, 65_536, 5, 64)],
)
def test_sockets_are_bounded_by_the_files_that_may_be_open(concurrency: int, files: int, fast: int, slow: int) -> None:
    assert sizes(concurrency, files) == (fast, slow)
    assert fast + slow <= 0.7 * files


def test_never_no_place_at_all() -> None:
    assert sizes(1, 0) == (1, 1)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        assert open_files() >= min(before[1], lanes.MOST_FILES) or before[1] == resource.RLIM_INFINITY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_patience_follows_what_is_usual() -> None:
    lane = SlowLane(4)
    assert lane.patience == lanes.FIRST_S
    for _ in range(lanes.SAMPLE):
        lane.note(0.01)
    assert lane.patience == lanes.LEAST_S
    for _ in range(lanes.SAMPLE):
        lane.note(2.0)
    assert lane.patience == 2.0 * lanes.FACTOR
    for _ in range(lanes.SAMPLE):
        lane.note(60.0)
    assert lane.patience == lanes.MOST_S


def impatient(places: int) -> SlowLane:
    lane = SlowLane(places)
    for _ in range(lanes.SAMPLE):
        lane.note(0.0)
    return lane


async def test_a_slow_visit_gets_a_place_and_a_quick_one_needs_none() -> None:
    lane = impatient(1)
    quick = asyncio.create_task(asyncio.sleep(0.01))
    assert not await lane.outlasts(quick)
    hanging = asyncio.create_task(asyncio.sleep(30))
    assert await lane.outlasts(hanging)
    # The lane is full now: the next one stays where it is until it ends ...
    other = asyncio.create_task(asyncio.sleep(lanes.LEAST_S + 0.2))
    assert not await lane.outlasts(other)
    # ... or until a place is given back.
    third = asyncio.create_task(asyncio.sleep(30))
    waiting = asyncio.create_task(lane.outlasts(third))
    await asyncio.sleep(lanes.LEAST_S + 0.1)
    assert not waiting.done()
    lane.leave()
    assert await asyncio.wait_for(waiting, 1)
    for task in (hanging, third):
        task.cancel()


async def test_known_slow_endpoints_leave_room_for_news() -> None:
    lane = impatient(4)
    inside = 0
    most = 0

    async def known() -> None:
        nonlocal inside, most
        async with lane.known():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.05)
            inside -= 1

    tasks = [asyncio.create_task(known()) for _ in range(12)]
    news = asyncio.create_task(asyncio.sleep(30))
    assert await lane.outlasts(news)
    await asyncio.gather(*tasks)
    assert most == 3
    news.cancel()


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    lane = impatient(1)
    for _ in range(3):
        async with asyncio.timeout(5):
            hanging = asyncio.create_task(asyncio.sleep(30))
            waiting = asyncio.create_task(lane.outlasts(hanging))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            hanging.cancel()
    async with asyncio.timeout(1), lane.known():
        pass
