"""Work that threads do ahead of its use: in order, within bounds."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

MOST_THREADS = 8  # more seldom read faster than one process uses the results


def cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_ahead(
    work: Callable[[T], U],
    items: Iterable[T],
    *,
    threads: int | None = None,
    ahead: int | None = None,
    cost: Callable[[U], int] = lambda result: 1,
) -> Generator[U]:
    """Yield ``work(item)`` of each item, in order, while threads work on the next ones.

    Threads go on while the caller computes. Closing the generator, or an exception in it, starts
    no further work and waits for what is running. An exception of ``work`` is raised in
    place of its result, and is the end. Items are taken when their work is started; none is started
    while finished results of a total ``cost`` of ``ahead`` wait (of ``threads`` if None).
    """
    threads = threads or min(MOST_THREADS, cpus())
    most = ahead or threads
    left = iter(items)
    running, waiting_cost = 0, 0
    waiting: deque[Future[tuple[U, int]]] = deque()
    lock = threading.RLock()

    def measured(item: T) -> tuple[U, int]:
        nonlocal running, waiting_cost
        price = 1
        try:
            result = work(item)
            price = cost(result)
            return result, price
        finally:
            with lock:
                running -= 1
                waiting_cost += price
                submit()

    def submit() -> None:
        nonlocal running
        with lock:
            while running < threads and waiting_cost < most:
                try:
                    item = next(left)
                except StopIteration:
                    return
                running += 1
                waiting.append(pool.submit(measured, item))

    with ThreadPoolExecutor(threads) as pool:
        try:
            submit()
            while waiting:
                result, price = waiting[0].result()
                with lock:
                    waiting.popleft()
                    waiting_cost -= price
                    submit()
                yield result
        finally:
            with lock:
                left = iter(())
