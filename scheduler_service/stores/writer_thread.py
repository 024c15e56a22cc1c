"""One thread that carries out what it is given in turn; work that takes long can let the others go first."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_Waiting = tuple["Future[Any]", "Callable[[], Any]"]


class WriterThread(Executor):
    """All of its work runs on the same thread, so that what belongs to that thread is never shared."""

    _max_workers = 1

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: deque[_Waiting] = deque()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        self._pool.submit(self._carry_out_one)
        return future

    def let_others_go_first(self) -> None:
        """Carries out whatever waits. To be called on this thread, between two steps of something long."""
        while self._waiting:
            self._carry_out_one()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _carry_out_one(self) -> None:
        """The oldest that waits; none where it was carried out in between."""
        if not self._waiting:
            return
        future, work = self._waiting.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            value = work()
        except BaseException as error:  # it belongs to whoever waits for it
            future.set_exception(error)
        else:
            future.set_result(value)
