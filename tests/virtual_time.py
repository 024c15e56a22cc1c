"""Virtual time: an event loop on which nothing waits. When no callback is ready, time jumps to the next timer.

``run(story)`` runs a coroutine function of a ``VirtualClock`` on such a loop. What the loop would give to a thread is
carried out in place, and its result arrives after a seeded latency of virtual time, so that the order of events is a
function of the seed alone. There are no sockets. A loop on which nothing can happen any more says so and ends.

``run_until_killed`` ends the process in the middle, as ``kill -9`` does: not one line of it runs afterwards. Restarting
is another ``run`` with the same clock. ``VirtualProcess`` does the same for work that comes piece by piece.
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

from scheduler_service.clock import SECOND, from_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from scheduler_service.clock import Instant, Micros

T = TypeVar("T")

START = "2026-11-23T14:30:00Z"
SHORTEST_LATENCY, LONGEST_LATENCY = 0.000_2, 0.005

_DEAD: list[object] = []
"""What killed processes left: to collect it would run its ``finally`` clauses, which no killed process does."""


class Deadlock(Exception):
    """Everything waits, and nothing will ever happen."""


class VirtualClock:
    """The clock of a virtual machine; it outlives the loops that run on it. ``jump`` sets the wall clock alone."""

    def __init__(self, start: Instant | str = START) -> None:
        self.elapsed: Micros = 0
        self._zero = from_iso(start) if isinstance(start, str) else start

    def now(self) -> Instant:
        return self._zero + self.elapsed

    def monotonic(self) -> float:
        return self.elapsed / SECOND

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

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
    """``hops`` counts what went to threads: every touch of the disk. ``kill_at``: the hop that ends the process.

    Of that hop itself, the seed decides whether it was still carried out; nobody learns of its result.
    """

    def __init__(self, clock: VirtualClock, seed: int, kill_at: int | None = None) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._free_at: dict[object, float] = {}
        self.hops = 0
        self.kill_at = kill_at
        self.killed = False
        super().__init__(_Selector(clock))
        self._clock_resolution = 0.5 / SECOND  # a finer one is lost in the digits of 100 days, and timers never ring

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(  # type: ignore[override]
        self, executor: object, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        latency = self._random.uniform(SHORTEST_LATENCY, LONGEST_LATENCY)
        self.hops += 1
        if self.hops == self.kill_at and self._random.random() < 0.5:
            Context().run(function, *args)
        if self.hops == self.kill_at:
            self.die()
        if self.killed:
            return future
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
        """What is still to be done is forgotten, without a line of it being run."""
        self.killed = True
        for task in asyncio.all_tasks(self):  # held on to, and not collected
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _DEAD.append(task)
        for handle in self._ready:  # type: ignore[attr-defined]
            handle.cancel()
        self.stop()


def run(
    story: Callable[[VirtualClock], Coroutine[Any, Any, T]],
    *,
    start: Instant | str = START,
    seed: int = 0,
    clock: VirtualClock | None = None,
) -> T:
    """Runs the story to its end; returns what it returns. ``clock``: of the machine that goes on, else a new one."""
    clock = clock or VirtualClock(start)
    with _seeded(seed), asyncio.Runner(loop_factory=lambda: VirtualLoop(clock, seed)) as runner:
        return runner.run(story(clock))


class Killed(Exception):
    """The process is no more."""


class VirtualProcess:
    """One process on the machine: work is done in it piece by piece, until it is killed.

    What the kernel gives back when a process dies (locks, descriptors) is the caller's to give back.
    """

    def __init__(self, clock: VirtualClock, seed: int = 0) -> None:
        self._seed = seed
        self._loop = VirtualLoop(clock, seed)

    def do(self, work: Coroutine[Any, Any, T], *, kill_after: int | None = None) -> T:
        """Runs a piece of work to its end, or until that many touches of the disk from now: raises ``Killed``."""
        self._loop.kill_at = None if kill_after is None else self._loop.hops + kill_after
        with _seeded(self._seed):
            main = self._loop.create_task(work, name="main")
            main.add_done_callback(lambda _: self._loop.stop())
            self._loop.run_forever()
        if self._loop.killed:
            raise Killed
        return main.result()

    def kill(self) -> None:
        """Here and now: not one line of it runs afterwards."""
        self._loop.die()
        self._loop.close()


def run_until_killed(
    story: Callable[[VirtualClock], Coroutine[Any, Any, object]], *, hop: int, clock: VirtualClock, seed: int = 0
) -> bool:
    """Runs the story until its ``hop``-th touch of the disk. False: it ended before that."""
    process = VirtualProcess(clock, seed)
    try:
        process.do(story(clock), kill_after=hop)
    except Killed:
        return True
    finally:
        process.kill()
    return False


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The jitter of retries is drawn from the process's own generator."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
