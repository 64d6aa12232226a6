"""Threads that answer requests; requests that wait for one scene are answered together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Work, Result]):
    key: str
    work: Work
    future: "Future[Result]"


# Images of one scene that a thread locates at once.
_MOST_TOGETHER = 16


class Full(Exception):  # noqa: N818 - a state, not a failure
    """The queue holds as many requests as it may."""


class Batcher(Generic[Work, Result]):
    """Answers work in a number of threads.

    A thread takes the work that has waited longest, and its share of the other work that waits with the same
    key, so that the other threads have something to do.
    """

    def __init__(
        self,
        answer: Callable[[str, Sequence[Work]], Sequence[Result]],
        *,
        threads: int,
        most_waiting: int,
    ) -> None:
        self._answer = answer
        self._most_waiting = most_waiting
        self._waiting: deque[_Waiting[Work, Result]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self.largest_batch = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"camloc-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return len(self._waiting)

    def submit(self, key: str, work: Work) -> "Future[Result]":
        """Add work to the queue; its result comes later.

        Raises:
            Full: too much work waits.
        """
        future: Future[Result] = Future()
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                raise Full
            self._waiting.append(_Waiting(key, work, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """End the threads; work that waits is cancelled."""
        with self._changed:
            self._is_closed = True
            for each in self._waiting:
                each.future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _run(self) -> None:
        while batch := self._next():
            live = [each for each in batch if each.future.set_running_or_notify_cancel()]
            if not live:
                continue
            try:
                results = self._answer(live[0].key, [each.work for each in live])
                for each, result in zip(live, results, strict=True):
                    each.future.set_result(result)
            except BaseException as problem:  # the thread goes on; the requests say what happened
                for each in live:
                    if not each.future.done():
                        each.future.set_exception(problem)

    def _next(self) -> "list[_Waiting[Work, Result]]":
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return []
            key = self._waiting[0].key
            alike = [each for each in self._waiting if each.key == key]
            share = -(-len(alike) // len(self._threads))
            batch = alike[: min(share, _MOST_TOGETHER)]
            for each in batch:
                self._waiting.remove(each)
            self.largest_batch = max(self.largest_batch, len(batch))
            return batch
