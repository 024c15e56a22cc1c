"""Alerts on their way to channels: each once in order, again with its key where nobody knows whether it arrived."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.alerts.channel import Message, why
from scheduler_service.alerts.channels import channels_of
from scheduler_service.alerts.planning import (
    GIVEN_UP_AFTER,
    SumUp,
    Wait,
    digest_words,
    next_step,
    pause_after,
    quiet_until,
)
from scheduler_service.clock import DAY, HOUR, SECOND, to_iso_seconds
from scheduler_service.errors import ClientError, StoreError, TransientClientError
from scheduler_service.models import Event
from scheduler_service.stores import delivery_store
from scheduler_service.stores.delivery_store import (
    CRITICAL,
    DELIVERED,
    FAILING,
    GIVEN_UP,
    REFUSING,
    SUPPRESSED,
    WAITING,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scheduler_service.calls import Limits, Request, Response
    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import Publish
    from scheduler_service.settings.watching import Alerts
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.delivery_store import ChannelCounts, Delivery
    from scheduler_service.stores.notice_store import NoticeRow

LONGEST_REST = 60.0
REST_AFTER_FAILURE = 5.0
LONG: Micros = HOUR
"""A channel that fails for so long is a trouble of the service."""


class Deliveries:
    """The channels of one configuration, and what waits for them. ``send``: one request, by the rules of the house."""

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
        patience: int = 1,
    ) -> None:
        """With more ``patience`` it looks less often for what it was not told of."""
        self._alerts = alerts
        self._timezone = timezone
        self._sandbox = sandbox
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._longest_rest = LONGEST_REST * patience
        self.channels = channels_of(alerts, send, clock)
        self._wakes = {name: asyncio.Event() for name in self.channels}
        self._unsettled: dict[str, tuple[Delivery, ClientError | None]] = {}
        """What was sent, and could not be noted: it is noted before anything else is sent."""

    def queue(self, conn: Connection, rows: Sequence[NoticeRow], now: Instant) -> None:
        """Writes what is to be told of new notices; in the transaction that marks them handled."""
        quiet = quiet_until(self._alerts.quiet_hours, self._timezone, now)
        for row in rows:
            if not row.notice.is_alert:
                continue
            told = delivery_store.told_of_it(conn, row, row.created_at - self._alerts.cool_down)
            held = quiet if quiet is not None and row.notice.level != CRITICAL else now
            for name in self.channels:
                delivery_store.add(conn, row, name, SUPPRESSED if name in told else WAITING, held, now)

    def wake(self) -> None:
        """Something was queued, and is committed."""
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
                    async with asyncio.timeout(min(rest, self._longest_rest)):
                        await self._wakes[name].wait()
                    rest = 0

    async def deliver(self, name: str) -> float:
        """The next one that is due; returns the seconds until it is worth coming back."""
        if name in self._unsettled:
            await self._settle(name, *self._unsettled[name])
            return 0.0
        now = self._clock.now()
        standing = await self._ledger.read(partial(delivery_store.standing, channel=name, now=now))
        step = next_step(standing, self._alerts.most_per_hour, now)
        if isinstance(step, Wait):
            return self._longest_rest if step.until is None else max(0.1, (step.until - now) / SECOND)
        if isinstance(step, SumUp):
            await self._ledger.run(partial(delivery_store.sum_up, channel=name, now=now, words=digest_words))
            return 0.0
        due = await self._ledger.read(partial(delivery_store.waiting, notice_id=step.notice_id, channel=name))
        problem: ClientError | None = None
        try:
            await self.channels[name].send(self._message(due))
        except ClientError as error:
            problem = error
        self._unsettled[name] = due, problem
        await self._settle(name, due, problem)
        return 0.0

    async def counts(self) -> dict[str, ChannelCounts]:
        """How each channel stands; also those for which something waits though they are configured no more."""
        return await self._ledger.read(partial(delivery_store.counts, channels=tuple(self.channels)))

    async def troubles(self) -> list[str]:
        """A sentence for each channel that has not taken alerts for long, or refused one within a day."""
        now = self._clock.now()
        return [
            f"{name} {'refuses' if seen.trouble == REFUSING else 'does not take'} alerts ({seen.said}), "
            f"since {to_iso_seconds(seen.since)}"
            for name, seen in (await self.counts()).items()
            if name in self.channels and seen.since is not None and is_trouble(seen, now)
        ]

    async def give_up_orphans(self) -> None:
        """What has waited for so long for a channel that is configured no more is told to nobody."""
        now = self._clock.now()
        give_up = partial(delivery_store.give_up_orphans, channels=tuple(self.channels), before=now - GIVEN_UP_AFTER)
        for name, number in (await self._ledger.run(partial(give_up, now=now))).items():
            said = f"{number:,} alerts that waited for {name} are given up: alerts.urls does not name it any more"
            self._publish(Event("alert.given_up", said, {}, "ERROR"))

    async def _settle(self, name: str, due: Delivery, problem: ClientError | None) -> None:
        now = self._clock.now()
        given_up = problem is not None and (
            not isinstance(problem, TransientClientError) or now - due.row.created_at >= GIVEN_UP_AFTER
        )
        pause = pause_after(due.tries, random.random())  # noqa: S311 - spreads tries, keeps no secret
        if isinstance(problem, TransientClientError) and problem.retry_after is not None:
            pause = max(pause, round(problem.retry_after * SECOND))
        said = None if problem is None else why(problem)
        changed = await self._ledger.run(
            partial(_note, notice_id=due.row.id, channel=name, said=said, given_up=given_up, pause=pause, now=now)
        )
        del self._unsettled[name]
        if given_up:
            words = f"{name} was not told of {due.row.notice.key}: {said}"
            self._publish(Event("alert.given_up", words, {"reason": str(said)}, "ERROR"))
        elif problem is not None and changed:
            self._publish(
                Event("alert.failed", f"{name} does not take alerts ({said}); it is tried again", {}, "WARNING")
            )
        elif problem is None and changed:
            self._publish(Event("alert.works_again", f"{name} takes alerts again"))

    def _message(self, due: Delivery) -> Message:
        told = due.row.notice
        more = f" (and {due.suppressed} like it since)" if due.suppressed else ""
        mark = "SANDBOX: " if self._sandbox else ""
        return Message(
            key=told.key,
            event=told.event,
            level=told.level,
            symbol=told.symbol,
            text=f"{mark}{told.message}{more}",
            at=due.row.created_at,
            facts=told.facts,
            sandbox=self._sandbox,
        )


def is_trouble(seen: ChannelCounts, now: Instant) -> bool:
    """Whether what does not work of a channel is worth telling elsewhere."""
    if seen.trouble is None or seen.since is None or seen.last_failed_at is None:
        return False
    if seen.trouble == REFUSING:
        return now - seen.last_failed_at < DAY
    return seen.waiting > 0 and now - seen.since >= LONG


def _note(
    conn: Connection, notice_id: int, channel: str, said: str | None, given_up: bool, pause: Micros, now: Instant
) -> bool:
    """What came of a try, in one transaction; whether the channel has begun to fail, or works again."""
    if said is None:
        delivery_store.settle(conn, notice_id, channel, DELIVERED, None, now)
        return delivery_store.note_well(conn, channel) == FAILING
    if given_up:
        delivery_store.settle(conn, notice_id, channel, GIVEN_UP, said, now)
        return delivery_store.note_trouble(conn, channel, REFUSING, said, now)
    delivery_store.try_again(conn, notice_id, channel, said, now + pause, now)
    return delivery_store.note_trouble(conn, channel, FAILING, said, now)
