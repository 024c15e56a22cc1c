"""What the log says of its own accord: what a newcomer wants to know, and what a start or a long gap leads to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scheduler_service.clock import to_iso_seconds
from scheduler_service.estimate import source_providers, usual_prices
from scheduler_service.first_fetch import catch_up_in_words, in_words, plan
from scheduler_service.models import Event
from scheduler_service.wording import duration

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.engine import Engine
    from scheduler_service.first_fetch import FirstFetch
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.slot_runs import CatchUp
    from scheduler_service.web.views import PauseView


def oddities(settings: Settings) -> Iterator[Event]:
    """What ``check`` warns of, before anybody is asked."""
    for warning in settings.warnings:
        yield Event("config.warning", warning, {}, "WARNING")


def ready(engine: Engine, seconds: float) -> Iterator[Event]:
    """That it is, after so long, and who it cannot ask."""
    settings = engine.settings
    data = "sandbox data, and every document says so" if settings.sandbox else "live data"
    message = f"ready after {seconds:.1f} s, pid {os.getpid()}: {len(settings.watchlist)} symbols, "
    message += f"{', '.join(engine.processors)}; {data}"
    if (problem := engine.dispatcher.problem) is None:
        yield Event("service.ready", message)
    else:
        yield Event("service.ready", f"{message}; but {problem}", {}, "WARNING")
    for provider, why in settings.off.items():
        yield Event("provider.off", why, {"provider": provider})


def to_come(engine: Engine, pauses: Sequence[PauseView]) -> Iterator[Event]:
    """The schedules, what of them is paused, and where to look."""
    for schedule in engine.dispatcher.schedules.values():
        due = schedule.trigger.next(engine.clock.now())
        when = to_iso_seconds(due) if due is not None else "none, it is over"
        yield Event("schedule.next", f"schedule {schedule.id}: {schedule.trigger.describe()}; next {when}")
    if follow_ups := engine.dispatcher.follow_ups:
        yield Event("schedule.next", f"and {len(follow_ups)} follow-ups of what is known of stocks; see `next`")
    if pauses:
        yield Event("schedule.next", f"still paused: {'; '.join(map(_paused, pauses))}")
    watchlist, documents = engine.settings.watchlist, engine.directory.documents
    some = watchlist[0].symbol if watchlist else "AAPL"
    yield Event("service.hint", f"documents are in {documents}/<domain>/<symbol>.json")
    yield Event(
        "service.hint", f"in another terminal: scheduler-service show {some}, or status, history, next; Ctrl-C stops"
    )


def first_fetches(engine: Engine, counts: Counter[tuple[str, str]]) -> Iterator[Event]:
    """Before the first call leaves: how many there will be, how long they take, and what they cost."""
    if not (total := counts.total()):
        return
    yield Event("run.opened", f"{total:,} fetches are due at once, of what was never fetched before")
    for words in in_words(_plan(engine, counts)):
        yield Event("run.opened", f"  {words}")


def caught_up(engine: Engine, missed: CatchUp, now: Instant, what: str) -> Iterator[Event]:
    """``was not running from ... to ... (13 min): missed 65 slots, 12 fetches``. ``what``: how it begins."""
    if not missed.slots or missed.since is None:
        return
    said = catch_up_in_words(missed.slots, missed.fetches.total(), _plan(engine, missed.fetches))
    span = f"from {to_iso_seconds(missed.since)} to {to_iso_seconds(now)} ({duration(now - missed.since)})"
    yield Event("run.opened", f"{what} {span}: {said}")


def _paused(pause: PauseView) -> str:
    until = "until someone resumes" if pause.until is None else f"until {pause.until}"
    why = f" ({pause.reason})" if pause.reason else ""
    return f"{pause.schedule_id or 'everything'} since {pause.since}, {until}{why}"


def _plan(engine: Engine, counts: Counter[tuple[str, str]]) -> tuple[FirstFetch, ...]:
    """What each provider will be asked. ``counts``: (domain, source) of the fetches."""
    return plan(engine.settings, source_providers(), counts, usual_prices(engine.settings))
