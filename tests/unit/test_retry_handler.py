from __future__ import annotations

import asyncio

import pytest

from scheduler_service.clients.retry_handler import RetryHandler
from scheduler_service.errors import NotFound, ParseError, RateLimited, TransientClientError
from scheduler_service.models import Reason
from tests.fakes import FakeClock


class Operation:
    """Fails with the given errors, one a call, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def down(retry_after: float | None = None) -> TransientClientError:
    return TransientClientError("down", Reason.PROVIDER_DOWN, retry_after=retry_after)


async def test_it_answers_at_once_when_nothing_fails() -> None:
    clock, operation = FakeClock(), Operation()
    assert await RetryHandler(clock=clock).run(operation) == "answer"
    assert (operation.calls, clock.slept) == (1, [])


async def test_it_waits_with_full_jitter_that_doubles() -> None:
    clock, operation = FakeClock(), Operation(down(), down(), down())
    handler = RetryHandler(max_retries=3, base_delay=1.0, clock=clock, random=lambda: 0.5)
    assert await handler.run(operation) == "answer"
    assert clock.slept == [0.5, 1.0, 2.0]


async def test_no_wait_is_longer_than_the_cap() -> None:
    clock, operation = FakeClock(), Operation(*(down() for _ in range(8)))
    await RetryHandler(max_retries=8, base_delay=1.0, clock=clock, cap=5.0, random=lambda: 1.0).run(operation)
    assert clock.slept == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0]


async def test_it_raises_the_last_error_after_all_retries() -> None:
    clock = FakeClock()
    last = down()
    operation = Operation(down(), down(), last)
    with pytest.raises(TransientClientError) as caught:
        await RetryHandler(max_retries=2, clock=clock).run(operation)
    assert caught.value is last
    assert operation.calls == 3
    assert len(clock.slept) == 2


async def test_without_retries_it_tries_once() -> None:
    clock, operation = FakeClock(), Operation(down())
    with pytest.raises(TransientClientError):
        await RetryHandler(max_retries=0, clock=clock).run(operation)
    assert (operation.calls, clock.slept) == (1, [])


async def test_it_waits_exactly_as_long_as_it_was_asked_to() -> None:
    clock = FakeClock()
    operation = Operation(down(retry_after=7.25), RateLimited("slow", Reason.RATE_LIMITED, retry_after=0.0))
    await RetryHandler(clock=clock, random=lambda: 0.1).run(operation)
    assert clock.slept == [7.25, 0.0]


async def test_a_long_wait_is_left_to_whoever_can_keep_it() -> None:
    clock = FakeClock()
    operation = Operation(RateLimited("slow", Reason.RATE_LIMITED, retry_after=10.5))
    with pytest.raises(RateLimited) as caught:
        await RetryHandler(clock=clock).run(operation)
    assert caught.value.retry_after == 10.5
    assert (operation.calls, clock.slept) == (1, [])


@pytest.mark.parametrize(
    "error",
    [
        NotFound("gone", Reason.NO_DATA),
        ParseError("odd", Reason.UNREADABLE),
        ValueError("a bug"),
        asyncio.CancelledError(),
    ],
)
async def test_it_tries_only_transient_errors_again(error: BaseException) -> None:
    clock, operation = FakeClock(), Operation(error)
    with pytest.raises(type(error)):
        await RetryHandler(clock=clock).run(operation)
    assert (operation.calls, clock.slept) == (1, [])


async def test_cancelling_ends_a_wait_at_once() -> None:
    class StuckClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.Event().wait()

    clock, operation = StuckClock(), Operation(down())
    task = asyncio.create_task(RetryHandler(clock=clock).run(operation))
    while not clock.slept:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert operation.calls == 1


async def test_it_tells_of_each_retry() -> None:
    told: list[tuple[str, int, float]] = []
    operation = Operation(down(), down(retry_after=3.0))
    handler = RetryHandler(clock=FakeClock(), random=lambda: 0.5)
    await handler.run(operation, on_retry=lambda error, tries, wait: told.append((str(error), tries, wait)))
    assert told == [("down", 1, 0.5), ("down", 2, 3.0)]


async def test_runs_at_the_same_time_do_not_disturb_each_other() -> None:
    handler = RetryHandler(max_retries=1, clock=FakeClock())
    fine, failing = Operation(down()), Operation(down(), down())
    results = await asyncio.gather(handler.run(fine), handler.run(failing), return_exceptions=True)
    assert results[0] == "answer"
    assert isinstance(results[1], TransientClientError)
