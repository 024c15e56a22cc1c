"""The table of reactions cannot loop: what is fetched at once never makes what made it due."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

import scheduler_service.monitors
from scheduler_service.clock import from_datetime
from scheduler_service.events.event_handler import reactions
from scheduler_service.models import Notice
from scheduler_service.parsers.earnings import EarningsData, NextReport, Release
from scheduler_service.parsers.earnings_noticed import report_follow_ups
from scheduler_service.processors.base import discover

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSORS = discover()


def notices_in(module: ModuleType) -> Iterator[str]:
    """The events of all notices that a module makes."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Notice":
            event = node.args[1]
            if isinstance(event, ast.Name) and hasattr(module, event.id):
                yield str(getattr(module, event.id))
            elif isinstance(event, ast.Constant):
                yield str(event.value)


def made_by(domain: str) -> set[str]:
    """The events that a domain's documents can tell: made in the modules that its processor's takes functions from."""
    own = sys.modules[PROCESSORS[domain].__module__]
    used = {sys.modules[value.__module__] for value in vars(own).values() if inspect.isfunction(value)}
    return {event for module in (own, *used) for event in notices_in(module)}


def fired_by(event: str) -> list[str]:
    """Which reactions there are."""
    done: list[str] = []

    async def fetch_again(notice: Notice) -> None:
        done.append(f"fetch {notice.event}")

    react = reactions(fetch_again=fetch_again)
    asyncio.run(react(Notice("k", event, "", symbol="A")))  # type: ignore[arg-type]
    return done


def follows_at_once(event: str) -> set[str]:
    """What the fetches that follow from it at once may find."""
    if f"fetch {event}" not in fired_by(event):
        return set()
    return {made for domain, p in PROCESSORS.items() if event in p.due_on for made in made_by(domain)}


def test_no_event_leads_back_to_itself_however_many_fetches_later() -> None:
    events = {event for domain in PROCESSORS for event in made_by(domain)}
    assert {"filing.results", "earnings.date_found"} <= events, "the tables are read as they are meant"
    assert follows_at_once("filing.results") == {"earnings.date_found", "earnings.date_gone", "earnings.surprise"}
    for event in events:
        reached: set[str] = set()
        ahead = follows_at_once(event)
        while ahead:
            reached |= ahead
            ahead = {later for one in ahead for later in follows_at_once(one)} - reached
        assert event not in reached


def test_nothing_follows_from_what_monitors_tell() -> None:
    folder = Path(scheduler_service.monitors.__path__[0])
    told = set()
    for path in folder.glob("*.py"):
        __import__(f"scheduler_service.monitors.{path.stem}")
        told |= set(notices_in(sys.modules[f"scheduler_service.monitors.{path.stem}"]))
    assert {"market.opened", "risk.breach", "health.changed"} <= told
    assert [fired for event in told for fired in fired_by(event)] == []


DATES = st.dates(date(2027, 1, 1), date(2027, 1, 9))
HOURS = st.sampled_from(["bmo", "amc", "unknown"])


@given(st.lists(st.tuples(DATES, HOURS, st.none() | DATES), min_size=1, max_size=30))
def test_however_often_a_date_moves_a_stock_has_few_follow_ups_on_a_day(
    moves: list[tuple[date, str, date | None]],
) -> None:
    """A date that is found fetches nothing by itself: it plans, and there are only so many times to plan for."""

    def at(day: date, local: time) -> int:
        return from_datetime(datetime.combine(day, local, tzinfo=UTC))

    planned: dict[date, set[int]] = {}
    for day, hour, told in moves:
        release = [] if told is None else [Release(date=told, form="8-K", accession="1", about="results")]
        due = NextReport(date=day, time=hour, source="x")  # type: ignore[arg-type]
        for one in report_follow_ups(EarningsData(next_report=due, releases=tuple(release)), at):
            of_day = datetime.fromtimestamp(one.due_at / 1e6, UTC).date()
            planned.setdefault(of_day, set()).add(one.due_at)
    assert max(map(len, planned.values())) <= 5
    assert fired_by("earnings.date_found") == []
