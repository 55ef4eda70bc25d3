"""A function over many items at once, results in the order of the items: in this process, in several, or on Ray."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Handle = TypeVar("Handle")
Result = TypeVar("Result")


def in_order(
    submit: Callable[[Item], Handle], fetch: Callable[[Handle], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """`fetch(submit(item))` of every item; at most `ahead` are under way, so that results do not pile up."""
    waiting: deque[Handle] = deque()
    for item in items:
        if len(waiting) == ahead:
            yield fetch(waiting.popleft())
        waiting.append(submit(item))
    while waiting:
        yield fetch(waiting.popleft())


def in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of every item, in `workers` processes; one worker is this process."""
    if workers == 1:
        yield from map(function, items)
        return
    # Spawned and not forked: the caller may hold threads (torch, Ray) that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent) as pool:

        def submit(item: Item) -> Future[Result]:
            return pool.submit(function, item)

        try:
            yield from in_order(submit, Future[Result].result, items, ahead=3 * workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent() -> None:
    """A worker leaves an interrupt to its parent, and ends when that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
