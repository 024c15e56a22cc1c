"""Retrying within seconds, by ``backoff``: the only module that uses it. Longer waits belong to the gates."""

from __future__ import annotations

import random as random_module
import warnings
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import backoff

from scheduler_service.errors import TransientClientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scheduler_service.clock import Clock

T = TypeVar("T")

LONGEST_WAIT_IN_PLACE = 10.0
"""Seconds. Asked to wait longer, the handler gives up at once; the error carries the wait to whoever can keep it."""


class OnRetry(Protocol):
    """Told before each wait: the error, how many tries there were, and the seconds until the next."""

    def __call__(self, error: TransientClientError, tries: int, wait: float) -> None: ...


class RetryHandler:
    """Tries again what failed with a ``TransientClientError``.

    A wait is exactly the error's ``retry_after`` where it has one, else full jitter: uniform between 0 and
    ``min(cap, base_delay * 2**n)`` seconds.
    """

    def __init__(
        self,
        max_retries: int = 3,
        base_delay: float = 1.0,
        *,
        clock: Clock,
        cap: float = 60.0,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._base_delay = base_delay
        self._cap = cap
        self._clock = clock
        self._random = random
        with warnings.catch_warnings():
            # backoff 2.2.1 decorates through asyncio.iscoroutinefunction, deprecated since Python 3.14.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._retrying = backoff.on_exception(
                backoff.constant,
                TransientClientError,
                max_tries=max_retries + 1,
                giveup=_asks_to_wait_long,
                on_backoff=self._wait,
                jitter=None,
                logger=None,
                # backoff's own sleep is real time: it gets nothing to do, and the waiting is done in on_backoff.
                interval=0,
            )(_run)

    async def run(self, operation: Callable[[], Awaitable[T]], *, on_retry: OnRetry | None = None) -> T:
        """What ``operation`` returns. Raises its last error; every other error, and cancellation, at once."""
        result: T = await self._retrying(operation, on_retry)
        return result

    async def _wait(self, details: Any) -> None:
        error, tries = details["exception"], details["tries"]
        _, on_retry = details["args"]
        wait = self._seconds(error, tries)
        if on_retry is not None:
            on_retry(error, tries, wait)
        await self._clock.sleep(wait)

    def _seconds(self, error: TransientClientError, tries: int) -> float:
        if error.retry_after is not None:
            return error.retry_after
        return self._random() * min(self._cap, self._base_delay * 2.0 ** (tries - 1))


async def _run(operation: Callable[[], Awaitable[T]], on_retry: OnRetry | None) -> T:
    del on_retry
    return await operation()


def _asks_to_wait_long(error: Exception) -> bool:
    return (
        isinstance(error, TransientClientError)
        and error.retry_after is not None
        and error.retry_after > LONGEST_WAIT_IN_PLACE
    )
