"""Virtual time for tests: a coroutine run to its end on it, and processes that are killed at any touch of the disk.

``run(story)`` runs a coroutine function of a ``VirtualClock`` on a loop of ``scheduler_service.virtual_time``.

``run_until_killed`` ends the process in the middle, as ``kill -9`` does: not one line of it runs afterwards. Restarting
is another ``run`` with the same clock. ``VirtualProcess`` does the same for work that comes piece by piece.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from scheduler_service import virtual_time
from scheduler_service.virtual_time import Deadlock, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from scheduler_service.clock import Instant

__all__ = ["START", "Deadlock", "Killed", "VirtualClock", "VirtualLoop", "VirtualProcess", "run", "run_until_killed"]

T = TypeVar("T")

START = "2026-11-23T14:30:00Z"


class VirtualClock(virtual_time.VirtualClock):
    """One that starts where nothing depends on the day."""

    def __init__(self, start: Instant | str = START) -> None:
        super().__init__(start)


class VirtualLoop(virtual_time.VirtualLoop):
    """``hops`` counts what went to threads: every touch of the disk. ``kill_at``: the hop that ends the process.

    Of that hop itself, the seed decides whether it was still carried out; nobody learns of its result.
    """

    def __init__(self, clock: virtual_time.VirtualClock, seed: int, kill_at: int | None = None) -> None:
        super().__init__(clock, seed)
        self.hops = 0
        self.kill_at = kill_at

    def run_in_executor(  # type: ignore[override]
        self, executor: object, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        self.hops += 1
        if self.hops == self.kill_at:
            if self._random.random() < 0.5:
                Context().run(function, *args)
            self.die()
        return super().run_in_executor(executor, function, *args)


def run(
    story: Callable[[VirtualClock], Coroutine[Any, Any, T]],
    *,
    start: Instant | str = START,
    seed: int = 0,
    clock: VirtualClock | None = None,
) -> T:
    """Runs the story to its end; returns what it returns. ``clock``: of the machine that goes on, else a new one."""
    machine = clock or VirtualClock(start)
    with seeded(seed), asyncio.Runner(loop_factory=lambda: VirtualLoop(machine, seed)) as runner:
        return runner.run(story(machine))


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
        with seeded(self._seed):
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
