"""What notices, tells and remembers beside the fetching: monitors, follow-ups, the strategy log, backups."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from scheduler_service.alerts.channel import former_name
from scheduler_service.alerts.deliveries import Deliveries
from scheduler_service.backup_scheduler import BackupScheduler
from scheduler_service.clock import DAY, HOUR, MINUTE, to_datetime, to_iso_seconds
from scheduler_service.errors import ClientError, StoreError
from scheduler_service.events.event_handler import reactions
from scheduler_service.exchanges import find_exchange
from scheduler_service.following_up import FollowUps
from scheduler_service.models import Event
from scheduler_service.monitors.base import Watch
from scheduler_service.monitors.health_monitor import UNHEALTHY, HealthMonitor, Vitals
from scheduler_service.monitors.market_monitor import LONGEST_REST, MarketMonitor
from scheduler_service.monitors.risk import Limits
from scheduler_service.monitors.risk_monitor import EVERY, RiskMonitor
from scheduler_service.monitors.splits import Closes, closes_at
from scheduler_service.noticing import NoticeReader
from scheduler_service.processors.base import ageing_of, exchange_of
from scheduler_service.vitals import LoopLag, vitals
from scheduler_service.web import views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.engine import Engine
    from scheduler_service.initialisation import OwnedTasks
    from scheduler_service.monitors.market_monitor import MarketState
    from scheduler_service.stores.delivery_store import ChannelCounts
    from scheduler_service.vitals import Service

SAY_AGAIN: Micros = HOUR
LONGEST_LAST_LOOK = 3.0
"""Seconds."""
COMES_WITHIN: Micros = 10 * MINUTE
"""So long after a slot its quotes are there."""
DELAYED: Micros = 15 * MINUTE
"""Quotes of exchanges that do not give the newest away are so old when they come."""
LONGEST_GAP: Micros = 8 * DAY


class Watching:
    """The parts that watch, wired to one engine and the service around it."""

    def __init__(self, engine: Engine, service: Service, patience: int = 1, *, is_real: bool = True) -> None:
        """On a virtual clock, not ``is_real``, there is no loop that could lag."""
        self._engine = engine
        self._service = service
        self._lag = LoopLag(engine.clock)
        self._is_real = is_real
        self._ping_failed_at: Instant | None = None
        monitors = engine.settings.monitors
        self._follow_ups = FollowUps(engine.ledger, engine.processors, engine.dispatcher, engine.clock)
        self._deliveries = Deliveries(
            engine.settings.alerts,
            engine.settings.service.timezone,
            sandbox=engine.settings.sandbox,
            ledger=engine.ledger,
            clock=engine.clock,
            publish=engine.publish,
            send=engine.send,
            patience=patience,
        )
        self._notices = NoticeReader(
            ledger=engine.ledger,
            log=engine.strategy_log(),
            react=reactions(fetch_again=self._follow_ups.fetch_again),
            queue=self._deliveries.queue,
            queued=self._deliveries.wake,
            clock=engine.clock,
            publish=engine.publish,
            patience=patience,
        )
        engine.noticed, engine.planned = self._notices.notify, self._follow_ups.renew_soon
        self.backups = BackupScheduler(
            engine.settings,
            engine.ledger,
            engine.clock,
            engine.publish,
            engine.calendars.calendar,
            self._notices.notify,
            patience,
        )
        longest_rest = LONGEST_REST * min(patience, 12)
        self._market = MarketMonitor(engine.calendars.exchanges, engine.calendars.calendar, longest_rest)
        ping = self._ping if monitors.health.ping_url is not None else None
        self._health = HealthMonitor(self._look, monitors.health.every * patience, ping)
        watched: list[Any] = [self._market, self._health]
        risk = monitors.risk
        if risk.portfolio is not None:
            limits = Limits(Decimal(str(risk.stop_loss_percent)), Decimal(str(risk.max_position_percent)))
            every = EVERY * min(patience, 20)
            priced_by = next((name for name, domain in engine.processors.items() if domain.tells_prices), None)
            stocks = _Stocks(engine, priced_by)
            watched.append(
                RiskMonitor(
                    risk.portfolio, limits, priced_by, engine.ledger, engine.clock, stocks, engine.off_loop, every
                )
            )
        self._watches: dict[str, Watch[Any]] = {
            monitor.name: Watch(monitor, engine.ledger, engine.clock, engine.publish, self._notices.notify)
            for monitor in watched
        }

    async def plan_follow_ups(self) -> None:
        """Those that the documents want, after a start or a change of configuration. A ledger that cannot be written is
        told of by itself, and keeps nothing from starting.
        """
        with suppress(StoreError):
            await self._follow_ups.renew_all()
            await self._deliveries.give_up_orphans()

    def start(self, owned: OwnedTasks) -> None:
        owned.start("notices", self._notices.read_forever())
        owned.start("follow-ups", self._follow_ups.renew_forever())
        if self._is_real:
            owned.start("loop lag", self._lag.measure_forever())
        for name, watch in self._watches.items():
            owned.start(f"{name} monitor", watch.look_forever())
        for channel, name in self._deliveries.names.items():
            owned.start(name, self._deliveries.deliver_forever(channel))
        if self.backups.scheduled:
            owned.start("backups", self.backups.run_forever())

    @property
    def problem(self) -> str | None:
        """What of it does not work at the moment."""
        monitors = (watch.problem for watch in self._watches.values())
        return "; ".join(said for said in (self._notices.problem, self.backups.problem, *monitors) if said) or None

    async def shown(self) -> dict[str, Any]:
        """What of it the status shows, by the status' own names. Raises ``StoreError``."""
        markets = self._market.markets(self._engine.clock.now())
        return {
            "health": self._shown_health(),
            "markets": tuple(map(_market, markets)),
            "alerts": channel_views(await self._deliveries.counts(), self._deliveries.names),
        }

    def _shown_health(self) -> views.HealthView | None:
        """As it was seen last, None before the first look; where nobody can look, that is no sign of health."""
        seen, blind = self._health.vitals, self._watches[self._health.name].problem
        if blind is not None:
            return views.HealthView(state=UNHEALTHY, reasons=(blind, *(seen.reasons if seen is not None else ())))
        return None if seen is None else views.HealthView(state=seen.state, reasons=seen.reasons)

    async def _look(self) -> Vitals:
        try:
            seen = await vitals(self._engine, self._service, self._lag.take())
            return replace(seen, troubles=(*seen.troubles, *await self._deliveries.troubles()))
        except StoreError as error:
            return Vitals(faults=(str(error),), is_fresh=False)

    async def last_look(self) -> None:
        """Something that the service needs has died, and it is about to end: that is told now, or never where it is
        the ledger's writer.
        """
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(LONGEST_LAST_LOOK):
                await self._watches[self._health.name].look()

    async def _ping(self) -> None:
        """A ping that fails harms nothing, and is said once an hour."""
        url = self._engine.settings.monitors.health.ping_url
        assert url is not None
        now = self._engine.clock.now()
        try:
            await self._engine.ping(url.get_secret_value())
        except ClientError as error:
            if self._ping_failed_at is None or now - self._ping_failed_at >= SAY_AGAIN:
                self._ping_failed_at = now
                said = f"health.ping_url was not reached ({error.reason})"  # its address is a secret
                self._engine.publish(Event("health.ping_failed", said, {}, "WARNING"))


class _Stocks:
    """What the engine knows of stocks and their exchanges, and when prices of the domain ``priced_by`` come."""

    def __init__(self, engine: Engine, priced_by: str | None) -> None:
        self._engine = engine
        self._priced_by = priced_by

    def is_watched(self, symbol: str) -> bool:
        return symbol in self._engine.dispatcher.watchlist

    def longest_gap(self, symbol: str) -> Micros:
        """How old a quote may be where none is late: as old as the last slot that should have brought one."""
        now, watched = self._engine.clock.now(), self._engine.symbol(symbol)
        slots = [
            due
            for s in self._engine.dispatcher.schedules.values()
            if s.domain == self._priced_by
            and s.selects(watched)
            and (due := s.trigger.last(now - LONGEST_GAP, now - COMES_WITHIN - s.spread)) is not None
        ]
        return self.age(symbol, max(slots)) + DELAYED if slots else 0

    def age(self, symbol: str, at: Instant) -> Micros:
        watched = self._engine.symbol(symbol)
        ageing = ageing_of(watched, self._engine.calendars.calendar, in_market_time=True)
        return ageing.between(at, max(at, self._engine.clock.now()))

    def day(self, symbol: str, at: Instant) -> str:
        zone = find_exchange(exchange_of(self._engine.symbol(symbol))).timezone
        return to_datetime(at).astimezone(ZoneInfo(zone)).date().isoformat()

    def closes(self, symbol: str, at: Instant) -> Closes:
        return closes_at(self._engine.calendars.calendar(exchange_of(self._engine.symbol(symbol))), at)


def channel_views(counts: Mapping[str, ChannelCounts], names: Mapping[str, str]) -> tuple[views.ChannelView, ...]:
    return tuple(
        views.ChannelView(
            channel=names.get(channel) or former_name(channel),
            configured=channel in names,
            waiting=seen.waiting,
            delivered_at=_iso(seen.delivered_at),
            failing_since=_iso(seen.since),
            said=seen.said,
        )
        for channel, seen in counts.items()
    )


def _iso(at: Instant | None) -> str | None:
    return None if at is None else to_iso_seconds(at)


def _market(state: MarketState) -> views.MarketView:
    until = None if state.until is None else to_iso_seconds(state.until)
    is_open, on_break = state.open, state.on_break
    return views.MarketView(exchange=state.exchange, open=is_open, until=until, note=state.note, on_break=on_break)
