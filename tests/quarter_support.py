"""A quarter of market time, lived by the real service, and everything that can be seen of it from outside: the wire,
the ledger's rows, the lines of the logs, what webhooks were told.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, from_iso
from scheduler_service.sandbox.alert_sink import Told
from scheduler_service.simulation import Machine, Plan
from scheduler_service.simulation_faults import Crash, Happening, Outage, Restore, Storm
from scheduler_service.simulation_report import Heard

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.calls import Limits, Request, Response
    from scheduler_service.clock import Instant
    from scheduler_service.market_calendar import Calendar
    from scheduler_service.models import Event
    from scheduler_service.sandbox.stand_in import StandIn
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.simulation_faults import Trouble

HELD = ("ACMEX", "GLOBX", "HOOLX", "INITX", "UMBRX", "QAAX", "QABX", "QACX")
OTHERS = tuple(f"QA{letter}X" for letter in "DEFGHIJKLMNO")
WATCHED = HELD + OTHERS
PORTFOLIO = """\
symbol,quantity,average_price,stop
ACMEX,60,160,
GLOBX,60,170,150
HOOLX,40,150,
INITX,30,365,
UMBRX,-50,195,
QAAX,25,230,
QAAX,25,226,
QABX,30,310,
QACX,20,340,300
"""
WATCHLIST = "\n".join(f"  - {{symbol: {name}, tags: [{'held' if name in HELD else 'other'}]}}" for name in WATCHED)
CONFIGURATION = f"""\
service: {{data_dir: data, timezone: America/New_York}}
providers:
  sandbox: {{enabled: true}}
  perplexity: {{budget: {{usd_per_day: 5}}}}
watchlist:
{WATCHLIST}
domains:
  news: {{sources: [{{use: feeds, fresh_for: 4h}}, {{use: edgar_filings, fresh_for: 4h}}]}}
  earnings: {{sources: [{{use: edgar, fresh_for: 20h}}, {{use: perplexity, fresh_for: 7d}}]}}
  fundamentals: {{sources: [{{use: edgar, fresh_for: 20h}}]}}
  quotes: {{sources: [{{use: finnhub, fresh_for: 30m}}]}}
schedules:
  - {{id: news, domain: news, trigger: {{cron: "10 17 * * mon-fri"}}}}
  - {{id: earnings, domain: earnings, trigger: {{cron: "0 7 * * mon-fri"}}}}
  - {{id: fundamentals, domain: fundamentals, trigger: {{cron: "30 18 * * fri"}}}}
  - {{id: quotes, domain: quotes, symbols: {{tags: [held]}}, trigger: {{every: 1h}}, during: {{market: XNYS}}}}
  - {{id: quotes-close, domain: quotes, symbols: {{tags: [held]}}, trigger: {{market: XNYS, at: close+5m}}}}
retention: {{history: 180d}}
monitors: {{risk: {{portfolio: portfolio.csv}}, health: {{ping_url: "https://ping.test/here"}}}}
backup: {{trigger: {{cron: "0 2 * * *"}}, keep: {{daily: 2, weekly: 1}}}}
alerts: {{urls: ["https://hooks.test/secret"], cool_down: 1s, most_per_hour: null}}
"""


START = from_iso("2026-12-18T05:00:00Z")
"""Midnight in New York, on a Friday; the ninety days hold three holidays, a half day and a change of the clocks."""
DAYS = 90


def _at(day: int, hour: float, trouble: Trouble) -> Happening:
    """``day`` 1 is the first; until the clocks change on the last Sunday but one, hours are New York's."""
    return Happening(type(trouble).__name__, (day - 1) * DAY + round(hour * HOUR), trouble)


TROUBLES = (
    _at(13, 10 + 1.5 / 3600, Crash()),
    _at(19, 11.5, Outage("finnhub", 3 * HOUR)),
    _at(26, 9, Storm("alerts", 6 * HOUR, 500)),
    _at(33, 9, Storm("alerts", 4 * HOUR)),
    _at(41, 14.5, Restore()),
    _at(48, 10, Outage("alerts", 5 * HOUR)),
    _at(62, 17 + 10 / 60 + 3 / 3600, Crash()),
    _at(63, 4, Outage("edgar", 6 * HOUR)),
)
PLAN = Plan(START, DAYS, 0, TROUBLES)


class Sent(NamedTuple):
    """One request and what became of it: ``status`` 0 is none at all."""

    at: Instant
    life: int
    url: str
    method: str
    asked: bytes
    status: int
    body: bytes


class Slot(NamedTuple):
    """A row of the ledger: ``slots`` due times of one schedule."""

    schedule_id: str
    first: Instant
    last: Instant
    slots: int
    outcome: str


class Task(NamedTuple):
    """A task that has ended or not, with what made its run."""

    symbol: str
    domain: str
    source: str
    state: str
    origin: str
    due_at: Instant
    ended_at: Instant | None


class Entry(NamedTuple):
    """A notice, wherever it was read."""

    key: str
    event: str
    symbol: str | None
    at: Instant
    is_alert: bool = False


@dataclass
class Wire:
    """Stands between the service and the sandbox, and writes down what passes. ``lives``: how often it was started."""

    inner: StandIn
    lives: list[int]
    sent: list[Sent] = field(default_factory=list)
    now: Any = None

    @property
    def asked(self) -> Any:
        return self.inner.asked

    def cut_off(self, provider: str, lasts: int) -> None:
        self.inner.cut_off(provider, lasts)

    async def close(self) -> None:
        await self.inner.close()

    async def send(self, request: Request, limits: Limits) -> Response:
        at, life = self.now(), self.lives[0]
        place = len(self.sent)
        said = (at, life, request.url, request.method, request.body or b"")
        self.sent.append(Sent(*said, 0, b""))
        response = await self.inner.send(request, limits)
        self.sent[place] = Sent(*said, response.status, response.body)
        return response


@dataclass
class Listener(Heard):
    """Everything the log is told, and when."""

    events: list[tuple[Instant, Event]] = field(default_factory=list)

    def hear(self, event: Event, now: Instant) -> None:
        super().hear(event, now)
        if not event.name.startswith(("task.", "call.", "document.", "slot.opened")):
            self.events.append((now, event))


@dataclass
class Quarter:
    """What was seen. ``down``: stretches in which the service was not there, or had lost what it knew."""

    start: Instant
    end: Instant
    calendar: Calendar
    data: Path
    sent: list[Sent]
    listener: Listener
    told: list[Told]
    seed: int

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data / "ledger.sqlite")) as conn:
            return conn.execute(sql).fetchall()

    @cached_property
    def outbox(self) -> list[Entry]:
        return [Entry(*row) for row in self.rows("SELECT key, event, symbol, created_at, is_alert FROM outbox")]

    @cached_property
    def strategy_log(self) -> list[str]:
        files = sorted((self.data / "strategy_log").glob("*.jsonl"))
        return [json.loads(line)["key"] for file in files for line in file.read_bytes().splitlines()]

    @cached_property
    def logged(self) -> list[str]:
        return [event.fields["key"] for _, event in self.listener.events if "key" in event.fields]

    @cached_property
    def slots(self) -> list[Slot]:
        return [
            Slot(*row)
            for row in self.rows("SELECT schedule_id, due_at, until_at, slots, outcome FROM slot ORDER BY 1, 2")
        ]

    @cached_property
    def tasks(self) -> list[Task]:
        return [
            Task(*row)
            for row in self.rows(
                "SELECT t.symbol, t.domain, t.source, t.state, r.origin, r.due_at, t.ended_at"
                " FROM task t JOIN run r ON r.id = t.run_id"
            )
        ]

    def said(self, name: str) -> list[Instant]:
        return [at for at, event in self.listener.events if event.name == name]


def live(settings: Settings, plan: Plan, calendar: Calendar) -> Quarter:
    """``settings``: as ``alone`` makes them."""
    machine = Machine(settings, plan, [calendar])
    lives = [0]
    wire = Wire(machine.transport, lives, now=machine.clock.now)
    listener = Listener(machine.heard.hidden)
    machine.transport, machine.heard = wire, listener  # type: ignore[assignment] # it is what the machine needs of one

    def passed(days: int) -> None:
        del days
        lives[0] = machine.starts

    machine.passed = passed
    machine.run()
    data = settings.service.data_dir
    return Quarter(
        plan.start, plan.start + plan.lasts, calendar, data, wire.sent, listener, list(machine.upstream.told), plan.seed
    )


__all__ = [
    "CONFIGURATION",
    "DAY",
    "HELD",
    "HOUR",
    "MINUTE",
    "PLAN",
    "PORTFOLIO",
    "SECOND",
    "WATCHED",
    "Quarter",
    "live",
]
