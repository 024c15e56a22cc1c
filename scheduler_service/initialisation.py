"""Tracked initialisation and owned tasks: what is done, what failed, and whether everything that should live does."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loguru import logger

from scheduler_service.web.views import Readiness, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


class Initialisation:
    """The steps to readiness, each pending, running, done or failed. Ready only when all are done."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._steps = {name: Step(name=name, state="pending") for name in names}
        self._problem: str | None = None
        self._stopping = False

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Marks a step; its error is remembered and goes on to whoever starts the service."""
        self._steps[name] = Step(name=name, state="running")
        try:
            yield
        except BaseException as error:  # a step that is cancelled has not been done either
            self._steps[name] = Step(name=name, state="failed", error=str(error) or type(error).__name__)
            raise
        self._steps[name] = Step(name=name, state="done")

    def died(self, problem: str) -> None:
        """Something the service needs has ended."""
        self._problem = self._problem or problem

    def stopping(self) -> None:
        self._stopping = True

    def view(self) -> Readiness:
        steps = tuple(self._steps.values())
        failed = next((s for s in steps if s.state == "failed"), None)
        waiting = next((s for s in steps if s.state != "done"), None)
        problem = self._problem
        if failed is not None:
            problem = f"{failed.name}: {failed.error}"
        elif waiting is not None and problem is None:
            problem = f"waiting for: {waiting.name}"
        if self._stopping:
            state = "stopping"
        elif failed is not None or self._problem is not None:
            state = "failed"
        else:
            state = "ready" if waiting is None else "starting"
        return Readiness(ready=state == "ready", state=state, steps=steps, problem=problem)


class OwnedTasks:
    """Background tasks with a name and an owner: none is forgotten, and one that dies is told."""

    def __init__(self, died: Callable[[str], None]) -> None:
        self._died = died
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def start(self, name: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def stopping(self) -> None:
        """From now on an end is no death."""
        self._stopping = True

    async def join(self, *names: str) -> None:
        """Waits for tasks that were told to end."""
        await asyncio.gather(*(self._tasks[name] for name in names if name in self._tasks), return_exceptions=True)

    async def cancel(self) -> None:
        """Ends whatever still runs."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._stopping or task.cancelled():
            return
        error = task.exception()
        problem = f"the task {name!r} has died: {error}" if error else f"the task {name!r} has ended before its time"
        logger.opt(exception=error).bind(event="service.degraded", reason="internal_error").critical("{}", problem)
        self._died(problem)
