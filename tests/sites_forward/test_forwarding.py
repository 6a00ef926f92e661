"""What is sent next, step by step."""

from __future__ import annotations

import math
from itertools import pairwise

from rmm.core import forwarding as f
from rmm.core.forwarding import Ask, Forwarding, Look, Send, Wait
from rmm.core.outgoing import place
from rmm.model.envelope import Marks
from rmm.model.outgoing import ALERTS, METRICS, Row


def row(number: int, size: int = 1000, grade: int = METRICS, epoch: int = 1, span: int = 1) -> Row:
    return Row(place(epoch, number), span, size, 0.0, grade)


def numbers(step: object) -> list[int]:
    assert isinstance(step, Send), step
    return [at - place(1, 0) for at in step.places]


def linked(now: float = 0.0, rate: float = 1e6) -> Forwarding:
    """With a link, and a receipt that there is nothing; nothing is in the log."""
    core = Forwarding(rate, now)
    core.online(now)
    assert core.next(now) == Ask()
    core.receipt({}, place(1, 1), now, again=True)
    for way in (f.NEWEST, f.GRADED, f.HISTORY):
        look = core.next(now)
        assert isinstance(look, Look)
        assert look.way == way
        core.found(look, [])
    assert isinstance(core.next(now), Wait)
    return core


def send(core: Forwarding, now: float) -> list[int]:
    step = core.next(now)
    found = numbers(step)
    assert isinstance(step, Send)
    core.sent(step.number, now)
    return found


def covered(core: Forwarding, now: float, marks: Marks) -> None:
    core.receipt({1: marks}, place(1, marks.high + 1), now, again=False)


def test_nothing_happens_without_a_link() -> None:
    core = Forwarding(10, 0)
    core.appended([row(1)], 0)
    assert core.next(1) == Wait()


def test_what_is_new_goes_at_once_also_before_the_first_receipt() -> None:
    core = Forwarding(10, 0)
    core.online(0)
    assert core.next(0) == Ask()
    core.appended([row(1), row(2)], 0.5)
    assert send(core, 0.5) == [1, 2]
    wait = core.next(0.5)
    assert isinstance(wait, Wait)
    assert wait.until == f.ASK_S  # and it asks again


def test_the_order_after_an_outage() -> None:
    core = Forwarding(1e6, 0)
    core.online(0)
    core.next(0)
    core.receipt({1: Marks(2)}, place(1, 3), 0, again=True)
    look = core.next(0)
    assert look == Look(f.NEWEST)
    core.found(look, [row(9), row(8)])
    core.appended([row(10)], 0)
    assert send(core, 0) == [10]
    assert send(core, 0) == [8, 9]
    look = core.next(0)
    assert look == Look(f.GRADED, place(1, 2))
    core.found(look, [row(5, grade=ALERTS), row(9, grade=ALERTS)])
    assert send(core, 0) == [5]
    look = core.next(0)
    assert look == Look(f.HISTORY, place(1, 2))
    core.found(look, [row(n) for n in range(3, 11)])
    core.appended([row(11)], 0)
    assert send(core, 0) == [11]
    assert send(core, 0) == [3, 4, 6, 7]
    assert isinstance(core.next(0), Wait)
    assert not core.catching_up
    assert core.flying == 5


def test_history_goes_at_its_rate_and_what_is_new_does_not_wait_for_it() -> None:
    core = Forwarding(10, 0)
    core.online(0)
    core.next(0)
    core.receipt({}, place(1, 1), 0, again=True)
    core.found(Look(f.NEWEST), [])
    core.found(Look(f.GRADED, place(1, 0)), [])
    core.found(Look(f.HISTORY, place(1, 0)), [row(n) for n in range(1, 401)])
    now, sent, high, new = 0.0, 0, 0, 999  # numbers of history, and of what is new
    while now < 20:
        step = core.next(now)
        if isinstance(step, Send):
            core.sent(step.number, now)
            sent += len(step.places)
            high = max(high, *numbers(step))
            covered(core, now, Marks(high, ((999, new),)))
        elif isinstance(step, Wait):
            new += 1
            core.appended([row(new)], now)  # which goes out at this moment
            assert send(core, now) == [new]
            covered(core, now, Marks(high, ((999, new),)))
            now = min(step.until, now + 1)
        else:
            core.found(step, [])  # type: ignore[arg-type]
    assert 190 <= sent <= 220


def test_no_more_is_on_its_way_than_may_be() -> None:
    core = linked()
    sent = 0
    for number in range(1, 201):
        core.appended([row(number)], 0)
        sent += isinstance(core.next(0), Send)
    assert sent == f.MESSAGES
    core = linked()
    core.appended([row(n, size=150_000) for n in range(1, 101)], 0)
    sent = 0
    while isinstance(core.next(0), Send):
        sent += 1
    assert sent == math.ceil(f.WINDOW / 150_000)


def test_what_is_new_and_waits_too_long_is_history_with_the_newest_first() -> None:
    core = linked()
    for number in range(1, f.MESSAGES + 1):
        core.appended([row(number)], 0)
        send(core, 0)
    core.appended([row(99)], 0)
    wait = core.next(0)
    assert isinstance(wait, Wait)
    assert core.next(f.BEHIND_S) == Ask()
    assert isinstance(core.next(f.BEHIND_S), Wait)
    assert core.catching_up
    covered(core, 6, Marks(f.MESSAGES))
    assert core.next(6) == Look(f.NEWEST)
    core.found(Look(f.NEWEST), [row(99)])
    assert send(core, 6) == [99]


def test_what_was_overtaken_is_sent_again_at_once() -> None:
    core = linked()
    for number in (1, 2, 3):
        core.appended([row(number)], 0)
        send(core, 0)
    covered(core, 0.2, Marks(1, ((3, 3),)))
    assert isinstance(core.next(0.2), Wait)  # it may only be late
    covered(core, 1.0, Marks(1, ((3, 3),)))
    core.appended([row(4)], 1.0)
    send(core, 1.0)
    covered(core, 1.1, Marks(1, ((3, 4),)))
    assert send(core, 1.1) == [2]


def test_a_silent_hub_is_asked_and_nothing_is_sent_twice_for_it() -> None:
    core = linked()
    core.appended([row(1)], 0)
    send(core, 0)
    now, asked = 0.0, []
    while now < 600:
        step = core.next(now)
        if step == Ask():
            asked.append(now)
        else:
            assert isinstance(step, Wait)
            now = step.until
    assert asked[0] == f.TIMEOUT_S
    assert 8 < len(asked) < 16
    covered(core, 600, Marks())  # it speaks, and has nothing
    assert send(core, 600) == [1]


def test_it_waits_longer_each_time() -> None:
    core = linked()
    core.appended([row(1)], 0)
    now, times = 0.0, list[float]()
    while len(times) < 5:
        covered(core, now, Marks())  # the hub is there, and does not have it
        if isinstance(step := core.next(now), Send):
            core.sent(step.number, now)
            times.append(now)
        now += 0.5
    assert [after - before for before, after in pairwise(times)] == [f.TIMEOUT_S * n for n in (1, 2, 4, 8)]


def test_a_hub_that_began_anew_gets_all_that_it_does_not_have() -> None:
    core = linked()
    core.appended([row(1), row(2)], 0)
    send(core, 0)
    core.receipt({1: Marks()}, place(1, 1), 1, again=True)
    assert core.flying == 0
    assert core.next(1) == Look(f.NEWEST)
    core.found(Look(f.NEWEST), [row(2)])
    assert send(core, 1) == [2]
    look = core.next(1)
    core.found(look, [])  # type: ignore[arg-type]
    look = core.next(1)
    assert look == Look(f.HISTORY, place(1, 0))
    core.found(look, [row(1), row(2)])
    assert send(core, 1) == [1]


def test_a_full_broker_is_left_alone_for_a_moment() -> None:
    core = linked()
    core.appended([row(1)], 0)
    step = core.next(0)
    assert isinstance(step, Send)
    core.kept_back(step.number, 0, 1.0)
    core.appended([row(2)], 0)
    assert core.next(0.5) == Wait(1.0)
    assert send(core, 1.0) == [2]
    assert send(core, 1.0) == [1]


def test_what_was_given_up_on_its_way_is_history() -> None:
    core = linked()
    core.appended([row(1), row(2), row(3)], 0)
    step = core.next(0)
    assert isinstance(step, Send)
    core.gone(step.number, [place(1, 1), place(1, 2)])
    core.sent(step.number, 0)
    assert core.next(0) == Look(f.HISTORY, place(1, 0))
    core.found(Look(f.HISTORY, place(1, 0)), [row(1, size=0, span=2), row(3)])
    assert send(core, 0) == [1]
    covered(core, 1, Marks(3))
    assert core.flying == 0


def test_too_many_spans_let_history_go_first() -> None:
    core = linked()
    many = Marks(0, tuple((2 * n, 2 * n) for n in range(1, f.MOST_SPANS + 1)))
    core.receipt({1: many}, place(1, 1), 0, again=True)
    core.found(Look(f.NEWEST), [])
    assert core.next(0) == Look(f.HISTORY, place(1, 0))


def test_a_message_is_of_one_epoch() -> None:
    core = linked()
    core.receipt({}, place(1, 1), 0, again=True)
    core.found(Look(f.NEWEST), [])
    core.found(core.next(0), [])  # type: ignore[arg-type]
    look = core.next(0)
    core.found(look, [row(1), row(2), row(1, epoch=2)])  # type: ignore[arg-type]
    assert send(core, 0) == [1, 2]
    step = core.next(0)
    assert isinstance(step, Send)
    assert step.places == (place(2, 1),)


def test_less_is_on_its_way_to_a_hub_that_is_slow() -> None:
    core = linked()
    core.appended([row(600)], 0)
    send(core, 0)
    covered(core, 0.2, Marks(0, ((600, 600),)))  # so quick is the link
    core._allowed = 400.0
    core.receipt({}, place(1, 1), 0, again=True)
    core.found(Look(f.NEWEST), [])
    core.found(core.next(0), [])  # type: ignore[arg-type]
    core.found(core.next(0), [row(n) for n in range(1, 513)])  # type: ignore[arg-type]
    sent = 0
    while isinstance(core.next(0), Send):
        sent += 1
    for number, flight in list(core._flying.items()):
        core.sent(number, flight.sent_at)
    assert sent >= 400 / f.ENTRIES
    covered(core, 1.1, Marks(64))
    assert core._allowed == 464
    covered(core, 5, Marks(128))
    assert core._allowed == 464 * 0.6
    covered(core, 6, Marks(192))
    assert core._allowed == 464 * 0.6  # it was sent before the hub was known to be slow
