"""Virtual time: an event loop on which nothing waits. When no callback is ready, time jumps to the next timer.

What the loop would give to a thread is carried out in place, and its result arrives after a seeded latency of virtual
time, so that the order of events is a function of the seed alone. There are no sockets. A loop on which nothing can
happen any more says so and ends. ``die`` ends it as ``kill -9`` does: not one line runs afterwards.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from scheduler_service.clock import SECOND, SystemClock, from_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler_service.clock import Instant, Micros

T = TypeVar("T")

SHORTEST_LATENCY, LONGEST_LATENCY = 0.000_2, 0.005

_DEAD: list[object] = []
"""What killed processes left: to collect it would run its ``finally`` clauses, which no killed process does."""


class Deadlock(Exception):
    """Everything waits, and nothing will ever happen."""


class VirtualClock(SystemClock):
    """The clock of a virtual machine; it outlives the loops that run on it. ``jump`` sets the wall clock alone.

    Sleeping is the loop's matter, as on a real machine.
    """

    def __init__(self, start: Instant | str) -> None:
        self.elapsed: Micros = 0
        self._zero = from_iso(start) if isinstance(start, str) else start

    def now(self) -> Instant:
        return self._zero + self.elapsed

    def monotonic(self) -> float:
        return self.elapsed / SECOND

    def jump(self, micros: Micros) -> None:
        """Steps the wall clock, forward or back, as an administrator does; no timer notices."""
        self._zero += micros

    def pass_by(self, micros: Micros) -> None:
        """Time passes while no loop runs: the machine is on, the process is not."""
        self.elapsed += micros


class _Selector(selectors.SelectSelector):
    """Waits by moving the clock. Knows one descriptor, the loop's own."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def register(self, *args: Any, **named: Any) -> selectors.SelectorKey:
        if len(self.get_map()) > 0:
            raise RuntimeError("there are no sockets in virtual time")
        return super().register(*args, **named)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(asyncio.get_running_loop()))
            raise Deadlock(f"nothing will ever happen; these tasks wait: {', '.join(waiting)}")
        if timeout > 0:
            self._clock.elapsed += max(1, math.ceil(timeout * SECOND - 0.01))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop of one process on the machine that has this clock."""

    def __init__(self, clock: VirtualClock, seed: int, *, latencies: bool = True) -> None:
        """``latencies``: what threads do takes its time, drawn from the seed, so that everything meets everything;
        without, it is done at once, which is quicker to compute.
        """
        self._clock = clock
        self._latencies = latencies
        self._random = random.Random(seed)  # noqa: S311 - to be foreseen is what it is for
        self._free_at: dict[object, float] = {}
        self.killed = False
        super().__init__(_Selector(clock))
        self._clock_resolution = 0.5 / SECOND  # a finer one is lost in the digits of 100 days, and timers never ring

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(  # type: ignore[override] # asyncio's own is typed with type variables of a newer Python
        self, executor: object, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        if self.killed:
            return future
        if not self._latencies:
            try:
                future.set_result(Context().run(function, *args))
            except Exception as error:
                future.set_exception(error)
            return future
        latency = self._random.uniform(SHORTEST_LATENCY, LONGEST_LATENCY)
        resolve: Callable[[], None]
        try:
            resolve = partial(future.set_result, Context().run(function, *args))
        except Exception as error:
            resolve = partial(future.set_exception, error)
        self.call_at(self._ready_at(executor, latency), lambda: None if future.done() else resolve())
        return future

    def _ready_at(self, executor: object, latency: float) -> float:
        """A single thread finishes its work in the order it was given."""
        start = self.time()
        if getattr(executor, "_max_workers", None) == 1:
            start = max(start, self._free_at.get(executor, 0.0))
            self._free_at[executor] = start + latency
        return start + latency

    def die(self) -> None:
        """What is still to be done is forgotten, without a line of it being run.

        What the kernel gives back when a process dies (locks, descriptors) is the caller's to give back.
        """
        self.killed = True
        for task in asyncio.all_tasks(self):  # held on to, and not collected
            task._log_destroy_pending = False  # type: ignore[attr-defined] # asyncio would complain of the unfinished
            _DEAD.append(task)
        for handle in self._ready:  # type: ignore[attr-defined] # asyncio has no public way to forget what is ready
            handle.cancel()
        self.stop()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The jitter of retries is drawn from the process's own generator: within, by this seed."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
