"""Lanes, claim, run, commit: the path of every task. An executor declares its lanes and their deadline."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from loguru import logger

from scheduler_service.clock import SECOND
from scheduler_service.errors import Fenced, Held, StoreError
from scheduler_service.executors.commit import Committed, commit
from scheduler_service.executors.endings import CANCELLED, crashed, outlasts, outlived
from scheduler_service.executors.reports import deferred, quarantined, run_closed, set_aside, task_ended
from scheduler_service.executors.turns import Turns
from scheduler_service.executors.waking import Scouts
from scheduler_service.models import Event, Outcome, Reason, StockState, TaskState
from scheduler_service.stores import stock_state_store, task_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.gates.ask import Gates
    from scheduler_service.models import Publish, Symbol, Task
    from scheduler_service.processors.base import Processor
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.schedule_store import RunRow

T = TypeVar("T")

LONGEST_REST = 5.0
SHORTEST_REST = 0.05
REST_AFTER_FAILURE = 2.0
HOLD_AFTER_FAILURE = 30 * SECOND
"""An answer that could not be kept is asked for again: not at once, for it may cost."""


class Executor:
    """Runs the tasks of its lanes, one lane a provider, so that a starved provider never holds another's workers."""

    def __init__(
        self,
        *,
        lanes: Mapping[str, int],
        deadline: float,
        ledger: Ledger,
        gates: Gates,
        processors: Mapping[str, Processor[Any]],
        symbol: Callable[[str], Symbol],
        clock: Clock,
        publish: Publish,
        committed: Callable[[Task, Committed], None],
        yielding: Collection[str] = (),
        run_id: int | None = None,
        patience: int = 1,
        passed_on: Callable[[], None] = lambda: None,
    ) -> None:
        """``lanes``: name to number of workers. ``yielding``: the lanes, here and elsewhere, that let a stock's other
        sources go first. ``deadline``: seconds a task may take. ``run_id``: only that run's tasks. With more
        ``patience`` an idle lane looks less often by itself. ``passed_on`` is told too when a task that goes first
        has ended, or waits for its gate.
        """
        self._passed_on = passed_on
        self._longest_rest = LONGEST_REST * patience
        self.lanes = lanes
        self._deadline = deadline
        self._ledger = ledger
        self._gates = gates
        self._processors = processors
        self._symbol = symbol
        self._clock = clock
        self._publish = publish
        self._committed = committed
        self._yielding = frozenset(yielding)
        self._run_id = run_id
        self._wakes = {lane: asyncio.Event() for lane in lanes}
        self._waiting_their_turn = set(self._yielding & self._wakes.keys())
        """Lanes that may hold tasks whose turn is still to come."""
        self._all_taken: set[str] = set()
        """Lanes in whose queue nothing is due: a task that ends there makes room for nothing."""
        self._working: dict[str, set[asyncio.Task[None]]] = {lane: set() for lane in lanes}
        self._claiming = {lane: asyncio.Lock() for lane in lanes}
        self._turns = {lane: Turns() for lane in lanes}
        self._scouts = Scouts()
        self._called_off: set[int] = set()
        """Running tasks that a person cancels."""
        self._draining = False

    def notify(self) -> None:
        """There may be work."""
        self._waiting_their_turn = set(self._yielding & self._wakes.keys())
        for wake in self._wakes.values():
            wake.set()

    def pass_on(self) -> None:
        """It may be the turn of tasks that let others go first."""
        for lane in self._waiting_their_turn:
            self._wakes[lane].set()

    @property
    def running(self) -> int:
        return sum(map(len, self._working.values()))

    async def work_forever(self, lane: str) -> None:
        """One lane: claims as many tasks as it has idle workers, rests until there is more. Ends when drained."""
        failing, is_due = False, False
        while not self._draining:
            self._wakes[lane].clear()
            try:
                rest = 0.0 if is_due else await self._until_next(lane)
                if rest <= 0:
                    rest = await self._start(lane)
                failing = False
            except StoreError as error:
                if not failing:
                    self._publish(Event("ledger.failed", f"lane {lane} waits: {error}", level="ERROR"))
                failing, rest = True, REST_AFTER_FAILURE
            slept = rest > 0 and await self._sleeps(lane, rest)
            is_due = slept and not failing and SHORTEST_REST < rest < self._longest_rest

    async def _sleeps(self, lane: str, seconds: float) -> bool:
        """Until the time is over: True, or there may be work before: False."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wakes[lane].wait()
                return False
        return True

    async def drain(self, seconds: float) -> int:
        """Claims nothing more, waits for what runs, and puts back what is not done in time; returns how many that
        was.
        """
        self._draining = True
        self.notify()
        for claiming in self._claiming.values():
            async with claiming:  # a claim under way is awaited, so that its tasks are not forgotten
                pass
        working = [worker for workers in self._working.values() for worker in workers]
        if not working:
            return 0
        _, late = await asyncio.wait(working, timeout=seconds)
        for worker in late:
            worker.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def call_off(self, task_id: int) -> None:
        """Ends a task that runs here as cancelled, unless it ends by itself before."""
        workers = (worker for lane in self._working.values() for worker in lane)
        worker = next((one for one in workers if one.get_name() == f"task {task_id}"), None)
        if worker is not None:
            self._called_off.add(task_id)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            self._called_off.discard(task_id)

    async def _start(self, lane: str) -> float:
        """Starts what is due; returns seconds until it is worth looking again."""
        async with self._claiming[lane]:
            idle = self.lanes[lane] - len(self._working[lane])
            if idle <= 0 or self._draining:
                return SHORTEST_REST
            now, run_id, yielding = self._clock.now(), self._run_id, self._yielding
            claim = partial(task_store.claim, lane=lane, now=now, most=idle, run_id=run_id, yielding=yielding)

            def unit(conn: Connection) -> tuple[Turns, list[tuple[Task, dict[str, StockState]]], Instant | None, bool]:
                turns = self._turns[lane].copy()
                tasks = claim(conn, choose=turns.choose)
                states = [stock_state_store.states_of(conn, task.symbol, task.domain) for task in tasks]
                due, all_taken = self._next_due(conn, lane, now) if 0 < len(tasks) < idle else (None, False)
                return turns, list(zip(tasks, states, strict=True)), due, all_taken

            self._turns[lane], claimed, due, all_taken = await self._ledger.run(unit)
            self._note(lane, all_taken)
            for task, states in claimed:
                worker = asyncio.create_task(self._work(task, states), name=f"task {task.id}")
                self._working[lane].add(worker)
                worker.add_done_callback(partial(self._finished, lane, task))
            if not claimed:
                return SHORTEST_REST
            return 0.0 if lane in self._waiting_their_turn else self._until(due)

    def _finished(self, lane: str, task: Task, worker: asyncio.Task[None]) -> None:
        self._working[lane].discard(worker)
        if task.interrupted:
            self.notify()  # the next suspect may be another lane's
        if lane not in self._all_taken:
            self._wakes[lane].set()
        if lane in self._yielding:
            self._waiting_their_turn.add(lane)
        else:
            self.pass_on()
            self._passed_on()
        if not worker.cancelled() and (error := worker.exception()) is not None:
            message = f"task {task.id} is left as it is until the next start: {type(error).__name__}: {error}"
            self._publish(Event("task.crashed", message, {"task_id": task.id}, "CRITICAL"))

    async def _until_next(self, lane: str) -> float:
        """Seconds until it is worth claiming. Only looks: an idle lane writes nothing."""
        if len(self._working[lane]) >= self.lanes[lane]:
            return self._longest_rest
        now, is_waiting = self._clock.now(), lane in self._waiting_their_turn
        self._waiting_their_turn.discard(lane)
        due, all_taken = await self._ledger.read(partial(self._next_due, lane=lane, now=now))
        self._note(lane, all_taken)
        if due is None and is_waiting and not all_taken:
            look = partial(task_store.next_due, lane=lane, now=now, run_id=self._run_id)
            is_waiting = await self._ledger.read(look) is not None
        if is_waiting and not (due is None and all_taken):
            self._waiting_their_turn.add(lane)
        return self._until(due)

    def _next_due(self, conn: Connection, lane: str, now: Instant) -> tuple[Instant | None, bool]:
        """When a task of the lane may start next, and whether none is due now."""
        due = task_store.earliest(conn, lane)
        if due is None or due > now:
            return due, True
        run_id, yielding = self._run_id, self._yielding
        return task_store.next_due(conn, lane, now, run_id=run_id, yielding=yielding), False

    def _note(self, lane: str, all_taken: bool) -> None:
        (self._all_taken.add if all_taken else self._all_taken.discard)(lane)

    def _until(self, due: Instant | None) -> float:
        rest = self._longest_rest
        return rest if due is None else min((due - self._clock.now()) / SECOND, rest)

    async def _work(self, task: Task, states: Mapping[str, StockState]) -> None:
        context = {
            "task_id": task.id,
            "run_id": task.run_id,
            "schedule_id": task.schedule_id,
            "domain": task.domain,
            "symbol": task.symbol,
            "source": task.source,
            "attempt": task.attempt,
        }
        with logger.contextualize(**{name: value for name, value in context.items() if value is not None}):
            started, run = self._clock.monotonic(), None
            self._publish(Event("task.started", f"{task.domain} of {task.symbol} from {task.source}", level="DEBUG"))
            try:
                run = await self._carry_out(task, states, started)
            except asyncio.CancelledError:
                if task.id not in self._called_off:
                    await self._put_back(task)
                    raise
                with suppress(Fenced):
                    run = await self._end(task, CANCELLED, started, states)
            except Fenced as error:
                self._publish(Event("task.fenced", str(error), level="WARNING"))
        if run is not None and run.closed_at is not None:
            self._publish(run_closed(run))

    async def _carry_out(self, task: Task, states: Mapping[str, StockState], started: float) -> RunRow | None:
        """The task's run as it stands afterwards; None when the task waits."""
        result = await self._outcome(task, states)
        outcome = await self._hold(task, result) if isinstance(result, Held) else result
        return None if outcome is None else await self._end(task, outcome, started, states)

    async def _end(self, task: Task, outcome: Outcome, started: float, states: Mapping[str, StockState]) -> RunRow:
        """Raises ``Fenced`` where it has ended otherwise meanwhile."""
        store = partial(commit, task=task, processor=self._processors.get(task.domain))
        try:
            done = await self._stored(task, partial(store, outcome=outcome))
        except StoreError:
            raise
        except Exception as error:  # a domain's merge is its own code too
            outcome = crashed(error, outcome)
            done = await self._stored(task, partial(store, outcome=outcome))
        took = round((self._clock.monotonic() - started) * 1000)
        self._publish(task_ended(task, done.instead or outcome, done, took, states.get(task.source)))
        if done.instead is not None and done.newly_doubtful:
            self._publish(set_aside(task, done.instead.message))
        if done.quarantined_until is not None:
            self._publish(quarantined(task, done.quarantined_until))
        self._committed(task, done)
        return done.run

    async def _outcome(self, task: Task, states: Mapping[str, StockState]) -> Outcome | Held:
        now = self._clock.now()
        if (too_late := outlived(task, now)) is not None:
            return too_late
        processor = self._processors.get(task.domain)
        if processor is None or task.source not in processor.policies:
            message = f"{task.domain} is no longer fetched from {task.source}"
            return Outcome(TaskState.SKIPPED, Reason.PROVIDER_OFF, message)
        ask = self._gates.for_task(task)
        try:
            async with asyncio.timeout(self._deadline) as deadline:
                outcome = await processor.process(task, states, self._symbol(task.symbol), ask, now)
        except Held as held:
            return held
        except StoreError as error:
            return Held(str(error), Reason.DISK_FAILED, self._clock.now() + HOLD_AFTER_FAILURE)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            outcome = crashed(error)
        except Exception as error:  # one task's bug must not take the others with it
            if deadline.expired():
                outcome = Outcome(TaskState.FAILED, Reason.DEADLINE, f"not done within {self._deadline:.0f} s")
            else:
                outcome = crashed(error)
        return replace(outcome, calls=tuple(ask.used), as_of=ask.as_of)

    async def _hold(self, task: Task, held: Held) -> Outcome | None:
        """Waits in the queue, or ends where the wait would outlive the schedule's next slot."""
        if outlasts(held, task, self._clock.now()):
            return Outcome(TaskState.SKIPPED, held.reason, str(held))
        hold = partial(task_store.hold, mine=task, reason=held.reason, message=str(held))
        await self._stored(task, partial(hold, until=self._scouts.comes_back(task, held)))
        self._all_taken.clear()  # it is due again, and its lane is to look when
        self._publish(deferred(task, held))
        return None

    async def _stored(self, task: Task, unit: Callable[..., T]) -> T:
        """Commits ``unit(conn, now=...)``, again and again while the ledger cannot be written (a full disk).

        Raises ``Fenced``, and what the unit raised.
        """
        failing = False
        while True:
            try:
                return await self._ledger.run(partial(unit, now=self._clock.now()))
            except Fenced:
                raise
            except StoreError as error:
                if not failing:
                    self._publish(Event("ledger.failed", f"task {task.id} waits to be stored: {error}", level="ERROR"))
                failing = True
                await self._clock.sleep(REST_AFTER_FAILURE)

    async def _put_back(self, task: Task) -> None:
        now: Instant = self._clock.now()
        with suppress(StoreError):
            await self._ledger.run(lambda conn: task_store.release(conn, task, now))


def _is_cancelled() -> bool:
    """Whether this task itself is to end, and not only something that it waited for."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
