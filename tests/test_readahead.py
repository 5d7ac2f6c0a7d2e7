from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator

import pytest

from srkit.errors import InputError
from srkit.readahead import read_ahead


def test_results_come_in_the_order_of_their_items() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.002 * (20 - number))
        return number * number

    assert list(read_ahead(slow_at_first, range(20), threads=5)) == [n * n for n in range(20)]
    assert list(read_ahead(slow_at_first, [], threads=5)) == []


class Started:
    """Work that notes what was started, and how much of it ran at once."""

    def __init__(self, seconds: float = 0.002) -> None:
        self.seconds, self.numbers, self.running, self.most = seconds, list[int](), 0, 0
        self.lock = threading.Lock()

    def __call__(self, number: int) -> int:
        with self.lock:
            self.numbers.append(number)
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1
        return number


def settled(started: Started) -> int:
    """Return how much was started once nothing more is."""
    before = -1
    while before != len(started.numbers) or started.running:
        before = len(started.numbers)
        time.sleep(0.05)
    return before


@pytest.mark.parametrize(("cost", "waiting"), [(1, 7), (2, 4), (7, 1), (100, 1)])
def test_threads_go_on_while_the_caller_computes_up_to_the_bound(cost: int, waiting: int) -> None:
    work = Started()
    results = read_ahead(work, range(100), threads=2, ahead=7, cost=lambda result: cost)
    for used in range(1, 4):
        assert next(results) == used - 1
        # At the bound, what the other thread was working on comes on top.
        assert used + waiting <= settled(work) <= used + waiting + 1
    assert list(results) == list(range(3, 100))
    assert work.most == 2


def test_an_exception_comes_in_the_place_of_its_result() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise InputError("the fourth is broken")
        return number

    results = read_ahead(work, range(100), threads=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="the fourth is broken"):
        next(results)


def closed(results: Generator[int]) -> None:
    results.close()


def interrupted(results: Generator[int]) -> None:
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)


@pytest.mark.parametrize("end", [closed, interrupted])
def test_nothing_is_started_after_the_end(end: Callable[[Generator[int]], None]) -> None:
    work = Started()
    threads = threading.active_count()
    results = read_ahead(work, range(1000), threads=2, ahead=500)
    next(results)
    end(results)
    assert not work.running
    assert threading.active_count() == threads
    assert len(work.numbers) < 100
