"""Alerts on their way to channels: each once in order, again with its key where nobody knows whether it arrived."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.alerts.channel import Message, channel_names, former_name, why
from scheduler_service.alerts.channels import channels_of
from scheduler_service.alerts.planning import (
    GIVEN_UP_AFTER,
    SumUp,
    TellHeld,
    Wait,
    digest_words,
    held_words,
    next_step,
    pause_after,
    quiet_until,
    what_becomes_of,
)
from scheduler_service.clock import DAY, HOUR, SECOND, to_iso_seconds
from scheduler_service.errors import ClientError, PermanentClientError, StoreError, TransientClientError
from scheduler_service.models import Event
from scheduler_service.redaction import redact, redact_all
from scheduler_service.stores import channel_troubles, delivery_store
from scheduler_service.stores.channel_troubles import FAILING, REFUSING
from scheduler_service.stores.delivery_store import DELIVERED, GIVEN_UP

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
FAULTS_OF_THE_MESSAGE = frozenset({400, 413, 422})
"""Statuses by which a receiver says that it will never take it. All others may be mended there, or in its address."""


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
        self.names = channel_names(url.get_secret_value() for url in alerts.urls)
        """What people call them."""
        self._wakes = {name: asyncio.Event() for name in self.channels}
        self._unsettled: dict[str, tuple[Delivery, ClientError | None]] = {}
        """What was sent, and could not be noted: it is noted before anything else is sent."""

    def queue(self, conn: Connection, rows: Sequence[NoticeRow], now: Instant) -> None:
        """Writes what is to be told of new notices; in the transaction that marks them handled."""
        cool_down = self._alerts.cool_down
        for row in rows:
            if not row.notice.is_alert:
                continue
            for channel in self.channels:
                last = delivery_store.last_told(conn, row, channel, row.created_at - cool_down, now)
                state, not_before = what_becomes_of(row.notice, last, cool_down, now)
                delivery_store.add(conn, row, channel, state, not_before, now)

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

    async def deliver(self, channel: str) -> float:
        """The next one that is due; returns the seconds until it is worth coming back."""
        if channel in self._unsettled:
            await self._settle(channel, *self._unsettled[channel])
            return 0.0
        now = self._clock.now()
        standing = await self._ledger.read(partial(delivery_store.standing, channel=channel, now=now))
        quiet = quiet_until(self._alerts.quiet_hours, self._timezone, now)
        step = next_step(standing, self._alerts.most_per_hour, now, quiet)
        if isinstance(step, Wait):
            return self._longest_rest if step.until is None else max(0.1, (step.until - now) / SECOND)
        if isinstance(step, TellHeld):
            await self._ledger.run(partial(delivery_store.tell_held, channel=channel, now=now, words=held_words))
            return 0.0
        if isinstance(step, SumUp):
            await self._ledger.run(partial(delivery_store.sum_up, channel=channel, now=now, words=digest_words))
            return 0.0
        due = await self._ledger.read(partial(delivery_store.waiting, notice_id=step.notice_id, channel=channel))
        problem: ClientError | None = None
        try:
            await self.channels[channel].send(self._message(due))
        except ClientError as error:
            problem = error
        self._unsettled[channel] = due, problem
        await self._settle(channel, due, problem)
        return 0.0

    async def counts(self) -> dict[str, ChannelCounts]:
        """How each channel stands; also those for which something waits though they are configured no more."""
        return await self._ledger.read(partial(delivery_store.counts, channels=tuple(self.channels)))

    async def troubles(self) -> list[str]:
        """A sentence for each channel that has not taken alerts for long, or refused one within a day."""
        now = self._clock.now()
        return [
            f"{self.names[channel]} {'refuses' if seen.trouble == REFUSING else 'does not take'} alerts "
            f"({seen.said}), since {to_iso_seconds(seen.since)}"
            for channel, seen in (await self.counts()).items()
            if channel in self.names and seen.since is not None and is_trouble(seen, now)
        ]

    async def give_up_orphans(self) -> None:
        """What waits for a channel that is configured no more is told to nobody, and that is said."""
        give_up = partial(delivery_store.give_up_orphans, channels=tuple(self.channels), now=self._clock.now())
        for channel, number in (await self._ledger.run(give_up)).items():
            waited = "1 alert that waited" if number == 1 else f"{number:,} alerts that waited"
            said = f"{waited} for {former_name(channel)}: given up, for alerts.urls does not name that address any more"
            self._publish(Event("alert.given_up", said, {}, "ERROR"))

    async def _settle(self, channel: str, due: Delivery, problem: ClientError | None) -> None:
        now = self._clock.now()
        refused = isinstance(problem, PermanentClientError) and problem.status in FAULTS_OF_THE_MESSAGE
        pause = pause_after(due.tries, random.random())  # noqa: S311 - spreads tries, keeps no secret
        if isinstance(problem, TransientClientError) and problem.retry_after is not None:
            pause = max(pause, round(problem.retry_after * SECOND))
        said = None if problem is None else why(problem)
        note = partial(_note, due=due, channel=channel, said=said, refused=refused, pause=pause, now=now)
        given_up, changed = await self._ledger.run(note)
        del self._unsettled[channel]
        name = self.names[channel]
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
            key=redact(told.key),
            event=told.event,
            level=told.level,
            symbol=told.symbol,
            text=redact(f"{mark}{told.message}{more}"),
            at=due.row.created_at,
            facts={name: redact_all(fact) for name, fact in told.facts.items()},
            sandbox=self._sandbox,
        )


def is_trouble(seen: ChannelCounts, now: Instant) -> bool:
    """Whether what does not work of a channel is worth telling elsewhere."""
    if seen.trouble is None or seen.since is None or seen.last_failed_at is None or seen.last_failed_at > now:
        return False
    if seen.trouble == REFUSING:
        return now - seen.last_failed_at < DAY
    return seen.waiting > 0 and now - seen.since >= LONG


def _note(
    conn: Connection, due: Delivery, channel: str, said: str | None, refused: bool, pause: Micros, now: Instant
) -> tuple[bool, bool]:
    """What came of a try, in one transaction: whether it is given up, and whether the channel has begun to fail, or
    works again.
    """
    notice_id = due.row.id
    if said is None:
        delivery_store.settle(conn, notice_id, channel, DELIVERED, None, now)
        return False, channel_troubles.note_well(conn, channel) == FAILING
    changed = channel_troubles.note_trouble(conn, channel, REFUSING if refused else FAILING, said, now)
    given_up = (
        refused or min(now - due.row.created_at, channel_troubles.tried_for(conn, channel, now)) >= GIVEN_UP_AFTER
    )
    if given_up:
        delivery_store.settle(conn, notice_id, channel, GIVEN_UP, said, now)
    else:
        delivery_store.try_again(conn, notice_id, channel, said, now + pause, now)
    return given_up, changed
