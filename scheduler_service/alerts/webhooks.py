"""Alerts to webhooks: each notice once in order, again with its key where nobody knows whether it arrived."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from scheduler_service.alerts.planning import GIVEN_UP_AFTER, pause_after, quiet_until
from scheduler_service.calls import Limits, Request
from scheduler_service.clients.base import check_status
from scheduler_service.clock import SECOND, to_iso
from scheduler_service.errors import ClientError, StoreError, TransientClientError
from scheduler_service.models import Event
from scheduler_service.stores import delivery_store
from scheduler_service.stores.delivery_store import DELIVERED, GIVEN_UP, SUPPRESSED, WAITING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import Publish
    from scheduler_service.settings.watching import Alerts
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.delivery_store import Delivery
    from scheduler_service.stores.notice_store import NoticeRow

TIMEOUT = 10.0
MOST_OF_AN_ANSWER = 100_000
LONGEST_REST = 60.0
REST_AFTER_FAILURE = 5.0


class Webhooks:
    """The channels of one configuration. ``send``: one request, by the rules of the house."""

    def __init__(
        self,
        alerts: Alerts,
        timezone: str,
        *,
        sandbox: bool,
        ledger: Ledger,
        clock: Clock,
        publish: Publish,
        send: Callable[[Request, Limits], Awaitable[Response]],
    ) -> None:
        self._alerts = alerts
        self._timezone = timezone
        self._sandbox = sandbox
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._send = send
        self.channels = {channel_name(n, url.get_secret_value()): url for n, url in enumerate(alerts.urls, 1)}
        self._wakes = {name: asyncio.Event() for name in self.channels}
        self._failing: set[str] = set()

    def queue(self, conn: Connection, rows: Sequence[NoticeRow], now: Instant) -> None:
        """Writes what is to be told of new notices; in the transaction that marks them handled."""
        quiet = quiet_until(self._alerts.quiet_hours, self._timezone, now)
        for row in rows:
            for name in self.channels if row.notice.is_alert else ():
                since: Micros = row.created_at - self._alerts.cool_down
                again = delivery_store.was_told(conn, row, name, since)
                held = quiet if quiet is not None and row.notice.level != "CRITICAL" else now
                delivery_store.add(conn, row, name, SUPPRESSED if again else WAITING, held, now)
        for wake in self._wakes.values():
            wake.set()

    async def deliver_forever(self, name: str) -> None:
        """One channel, at its own pace: one that fails holds up no other."""
        while True:
            self._wakes[name].clear()
            try:
                rest = await self.deliver(name)
            except StoreError:
                rest = REST_AFTER_FAILURE  # the ledger says so itself
            if rest > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(rest, LONGEST_REST)):
                        await self._wakes[name].wait()
                    rest = 0

    async def deliver(self, name: str) -> float:
        """The next one that is due; returns the seconds until it is worth coming back."""
        due = await self._ledger.read(partial(delivery_store.first_waiting, channel=name))
        now = self._clock.now()
        if due is None:
            return LONGEST_REST
        if due.not_before > now:
            return (due.not_before - now) / SECOND
        problem: ClientError | None = None
        try:
            answer = await self._send(self._request(name, due), Limits(MOST_OF_AN_ANSWER, TIMEOUT))
            check_status(answer, now)
        except ClientError as error:
            problem = error
        await self._settle(name, due, problem)
        return 0.0

    async def _settle(self, name: str, due: Delivery, problem: ClientError | None) -> None:
        now, notice_id = self._clock.now(), due.row.id
        settle = partial(delivery_store.settle, notice_id=notice_id, channel=name, now=now)
        if problem is None:
            await self._ledger.run(partial(settle, state=DELIVERED, said=None))
            if name in self._failing:
                self._failing.discard(name)
                self._publish(Event("alert.works_again", f"{name} takes alerts again"))
            return
        said = str(problem.reason)  # not its text, which may hold the address
        if not isinstance(problem, TransientClientError) or now - due.row.created_at >= GIVEN_UP_AFTER:
            await self._ledger.run(partial(settle, state=GIVEN_UP, said=said))
            words = f"{name} was not told of {due.row.notice.key}: {said}"
            self._publish(Event("alert.given_up", words, {"reason": said}, "ERROR"))
            return
        pause = pause_after(due.tries, random.random())  # noqa: S311 - spreads tries, keeps no secret
        if problem.retry_after is not None:
            pause = max(pause, round(problem.retry_after * SECOND))
        again = partial(delivery_store.try_again, notice_id=notice_id, channel=name, said=said)
        await self._ledger.run(partial(again, not_before=now + pause, now=now))
        if name not in self._failing:
            self._failing.add(name)
            self._publish(
                Event("alert.failed", f"{name} does not take alerts ({said}); it is tried again", {}, "WARNING")
            )

    def _request(self, name: str, due: Delivery) -> Request:
        told = due.row.notice
        more = f" (and {due.suppressed} like it since)" if due.suppressed else ""
        mark = "SANDBOX: " if self._sandbox else ""
        body = {
            "key": told.key,
            "event": told.event,
            "level": told.level,
            "symbol": told.symbol,
            "message": f"{mark}{told.message}{more}",
            "at": to_iso(due.row.created_at),
            "sandbox": self._sandbox,
            "facts": told.facts,
        }
        # header values are ASCII; keys are, but for a symbol that nobody can have
        key = told.key.encode("ascii", "replace").decode()
        headers = (("Content-Type", "application/json"), ("Idempotency-Key", key))
        return Request(self.channels[name].get_secret_value(), "POST", headers, orjson.dumps(body))


def channel_name(number: int, url: str) -> str:
    """``webhook 1 (hooks.example.com)``: without path, query and user, which may be secret."""
    return f"webhook {number} ({urlsplit(url).hostname})"
