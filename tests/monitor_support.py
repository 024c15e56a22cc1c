"""Monitors without a ledger, and what they know of stocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import to_iso
from scheduler_service.monitors.risk_monitor import RiskMonitor
from scheduler_service.monitors.splits import Closes
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.models import Notice
    from scheduler_service.monitors.risk import Limits
    from scheduler_service.stores.database import Ledger
    from scheduler_service.stores.monitor_store import MonitorState


@dataclass
class FakeStocks:
    """All are watched but some; a quote is as old as a test says."""

    ages: dict[str, Micros] = field(default_factory=dict)
    unwatched: frozenset[str] = frozenset()

    def is_watched(self, symbol: str) -> bool:
        return symbol not in self.unwatched

    def age(self, symbol: str, at: Instant) -> Micros:
        del at
        return self.ages.get(symbol, 0)

    def longest_gap(self, symbol: str) -> Micros:
        del symbol
        return 0

    def day(self, symbol: str, at: Instant) -> str:
        del symbol
        return to_iso(at)[:10]

    def closes(self, symbol: str, at: Instant) -> Closes:
        del symbol, at
        return Closes()


async def in_place(function: Callable[..., Any], *args: Any) -> Any:
    """Runs a function where the caller is."""
    return function(*args)


def risk_monitor(
    path: Path,
    limits: Limits,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    stocks: FakeStocks | None = None,
    priced_by: str | None = "quotes",
) -> RiskMonitor:
    of = stocks or FakeStocks()
    return RiskMonitor(path, limits, priced_by, ledger, clock or FakeClock(), of, in_place)  # type: ignore[arg-type]


class Told:
    """A monitor's memory, as the ledger keeps it: each key is told once."""

    def __init__(self, monitor: Any, *, counts_looks: bool = False) -> None:
        self.monitor = monitor
        self.counts_looks = counts_looks
        self.states: dict[str, MonitorState] = {}
        self.keys: set[str] = set()

    def look(self, seen: Any, now: Instant) -> list[str]:
        """The events of what is told at this look."""
        return [f"{notice.event}: {notice.message}" for notice in self.notices(seen, now)]

    def notices(self, seen: Any, now: Instant) -> list[Notice]:
        """What is told at this look."""
        told = []
        for change in self.monitor.judge(dict(self.states), seen, now):
            if change.state is None:
                self.states.pop(change.subject, None)
            else:
                self.states[change.subject] = change.state
            for notice in change.notices:
                if notice.key not in self.keys:
                    self.keys.add(notice.key)
                    told.append(notice)
        again = self.monitor.judge(dict(self.states), seen, now)
        assert self.counts_looks or not any(change.notices for change in again), "told twice"
        return told
