"""Slots, runs, tasks, pauses and gates in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from scheduler_service.clock import MINUTE, SECOND, to_datetime, to_iso_seconds
from scheduler_service.cron import CronTrigger
from scheduler_service.errors import CircuitOpen
from scheduler_service.market_time import ELAPSED
from scheduler_service.marks import calendar_behind, marks
from scheduler_service.models import Reason, SlotOutcome, TaskState
from scheduler_service.settings.model import good_for_slots
from scheduler_service.settings.units import format_duration, format_usd
from scheduler_service.triggers import Windowed, without_window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.errors import Held
    from scheduler_service.market_time import Ageing
    from scheduler_service.models import StockState
    from scheduler_service.stores.doubt_store import DoubtfulRow
    from scheduler_service.stores.history import TaskRow
    from scheduler_service.stores.pause_store import PauseRow
    from scheduler_service.stores.schedule_store import RunRow
    from scheduler_service.stores.traces import CallTrace, RecordedSlot
    from scheduler_service.triggers import Trigger

_WHY = {
    Reason.PAUSED: "it was paused",
    Reason.DISABLED: "it was switched off",
    Reason.REMOVED: "it was taken out of the configuration",
    Reason.PROVIDER_OFF: "no source of its domain was on",
    Reason.CATCH_UP_NONE: "it was found late, and catch_up is none",
    Reason.TOO_OLD: "it was found later than catch_up_window allows",
}
_SETTINGS = {
    Reason.DISABLED: ".enabled",
    Reason.REMOVED: "",
    Reason.CATCH_UP_NONE: ".catch_up",
    Reason.COALESCED: ".catch_up",
    Reason.TOO_OLD: ".catch_up_window",
    Reason.PAUSED: None,
}


def moment(instant: Instant, timezone: str) -> str:
    """``2026-11-23T14:30:00Z (Mon 09:30 EST)``."""
    shown = to_datetime(instant).astimezone(ZoneInfo(timezone))
    local = f"{shown:%a %H:%M:%S %Z}" if instant % MINUTE >= SECOND else f"{shown:%a %H:%M %Z}"
    return f"{to_iso_seconds(instant)} ({local})"


def several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def no_slot(trigger: Trigger, at: Instant, timezone: str) -> tuple[str, str]:
    """Why there is no slot then, with those around it; and the setting of the schedule that says so."""
    inner = without_window(trigger)
    why, setting = f"the trigger says {trigger.describe()!r}", "trigger"
    if isinstance(trigger, Windowed) and inner.last(at - 1, at) is not None:
        why, setting = f"it is outside the window, {trigger.window.describe()}", "during"
    calendar = calendar_behind(trigger)
    if calendar is not None:
        day = to_datetime(at).astimezone(ZoneInfo(calendar.timezone)).date()
        session = calendar.session_of(day)
        if calendar.is_holiday(day):
            why += f"; {calendar.name} is closed on {day:%a %d %b %Y}, a holiday"
        elif session is None:
            why += f"; {calendar.name} has no session on {day:%a %d %b %Y}"
        elif session.early:
            closes = to_datetime(session.close).astimezone(ZoneInfo(calendar.timezone))
            why += f"; {calendar.name} closes at {closes:%H:%M} on {day:%a %d %b %Y}, a half day"
        elif session.assumed:
            why += f"; the calendar of {calendar.name} is not known for this day, usual hours are assumed"
    before, after = trigger.last(0, at - 1), trigger.next(at)
    why += _clock_change(trigger, at, (before, after), timezone)
    around = [
        "none before" if before is None else f"the one before is {moment(before, timezone)}",
        "none after" if after is None else f"the next {moment(after, timezone)}",
    ]
    return f"no slot at {moment(at, timezone)}: {why}; {', '.join(around)}", setting


def _clock_change(trigger: Trigger, at: Instant, around: Iterable[Instant | None], timezone: str) -> str:
    """``; that day clocks go forward: 02:30 does not exist, runs at 03:00``."""
    inner, zone = without_window(trigger), ZoneInfo(timezone)
    for slot in around:
        if slot is None or not isinstance(inner, CronTrigger):
            continue
        same_day = to_datetime(slot).astimezone(zone).date() == to_datetime(at).astimezone(zone).date()
        if same_day and (inner.made_good(slot) or inner.is_left_out_again(slot)):
            return f"; that day {marks(trigger, slot, timezone)[0]}"
    return ""


def of_slot(slot: RecordedSlot, stands_in: RecordedSlot | None, timezone: str) -> str:
    """What became of a slot, or of the stretch it lies in."""
    row = slot.row
    match row.outcome:
        case SlotOutcome.RAN:
            said = f"it ran, {duration(slot.recorded_at - row.due_at)} after it was due"
        case SlotOutcome.CAUGHT_UP:
            late = duration(slot.recorded_at - row.due_at)
            said = f"it was caught up at {moment(slot.recorded_at, timezone)}, {late} late"
        case SlotOutcome.COALESCED:
            newer = "a newer slot" if stands_in is None else f"the slot {moment(stands_in.row.due_at, timezone)}"
            said = f"it was found late and coalesced: {newer} was run in its place"
        case _:
            why = _WHY.get(row.reason, str(row.reason)) if row.reason else "no reason is recorded"
            said = f"it was {row.outcome} ({row.reason}): {why}"
    if row.slots > 1:
        ends = f"{moment(row.due_at, timezone)} to {moment(row.until_at, timezone)}"
        said += f"; one of {row.slots:,} slots from {ends} that ended alike"
    return said


def outcome(slot: RecordedSlot) -> str:
    """``skipped (paused)``."""
    said = str(slot.row.outcome).replace("_", " ")
    return f"{said} ({slot.row.reason})" if slot.row.reason else said


def slot_path(slot: RecordedSlot, schedule: str) -> str:
    """The setting that decided on a slot; empty: none did."""
    reason = slot.row.reason
    if slot.row.outcome is SlotOutcome.CAUGHT_UP:
        return f"{schedule}.catch_up"
    end = _SETTINGS.get(reason, ".trigger") if reason is not None else ".trigger"
    return "" if end is None else f"{schedule}{end}"


def of_run(run: RunRow, timezone: str) -> str:
    counts = {
        "open": run.open_tasks,
        "updated": run.completed - run.unchanged,
        "unchanged": run.unchanged,
        "skipped": run.skipped,
        "failed": run.failed,
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no tasks"
    ended = "still open" if run.closed_at is None else f"done at {moment(run.closed_at, timezone)}"
    return f"run {run.id}, {ended}: {told}"


def of_task(task: TaskRow, timezone: str) -> str:
    """How a task ended, or what it waits for."""
    why = ": ".join(text for text in (task.reason, task.message) if text)
    match task.state:
        case TaskState.COMPLETED:
            said = "completed, nothing new" if task.unchanged else "completed"
        case TaskState.RUNNING:
            return f"running, attempt {task.attempt}"
        case TaskState.QUEUED if task.held_reason is Reason.PAUSED:
            return "held (paused)"
        case TaskState.QUEUED if task.held_reason is not None:
            return f"held ({task.held_reason}) until {moment(task.not_before, timezone)}"
        case TaskState.QUEUED:
            return f"queued, to start from {moment(task.not_before, timezone)}"
        case _:
            said = f"{task.state} ({why})"
    return said if task.ended_at is None else f"{said} at {moment(task.ended_at, timezone)}"


def called(call: CallTrace) -> str:
    """``call 7 to edgar (asked), edgar:submissions:320193: kept (200)``."""
    end = ", ".join(str(part) for part in (call.status, call.reason) if part is not None)
    cost = f", {format_usd(call.usd_micros / 1e6)}" if call.usd_micros else ""
    ended = f"{call.state} ({end})" if end else str(call.state)
    return f"call {call.id} to {call.provider} ({call.how}), {call.resource}: {ended}{cost}"


def of_doubt(row: DoubtfulRow, timezone: str) -> str:
    """What was set aside, and what a person can do about it."""
    often = f", {row.times} times the same" if row.times > 1 else ""
    how = f"scheduler-service release {row.symbol} {row.domain}"
    since = f"set aside since {moment(row.since, timezone)}{often}, the document stays"
    return f"{since}: {row.said}; accept it: {how}; drop it: {how} --reject"


def of_pause(pause: PauseRow, timezone: str) -> str:
    what = "everything" if pause.scope == "*" else "it"
    what += " is paused since" if pause.ended_at is None else " was paused from"
    until = "until someone resumes it" if pause.end is None else f"until {moment(pause.end, timezone)}"
    why = f": {pause.reason}" if pause.reason else ""
    return f"{what} {moment(pause.since, timezone)}, {until}{why}"


def of_state(
    state: StockState, fresh_for: Micros, at: Instant, now: Instant, timezone: str, ageing: Ageing = ELAPSED
) -> str:
    """How fresh a source is for a slot due at ``at``. A check ahead of now does not count, as in ``is_fresh``."""
    if state.checked_for is None or state.checked_at is None:
        return "never fetched"
    if state.checked_for > now:
        return _checked_ahead(state, timezone)
    until = ageing.after(state.checked_for, good_for_slots(fresh_for))
    kind = "fresh" if at < until else "stale"
    checked = f"checked at {moment(state.checked_at, timezone)}"
    failures = f", {several(state.failures, 'failure')} since" if state.failures else ""
    why = f"{checked}, fresh_for {format_duration(fresh_for)}{failures}"
    return f"{kind}, good for slots before {moment(until, timezone)} ({why})"


def fresh_until(
    state: StockState, fresh_for: Micros, at: Instant, now: Instant, timezone: str, ageing: Ageing = ELAPSED
) -> str:
    """The same in two words."""
    if state.checked_for is None:
        return "never fetched"
    if state.checked_for > now:
        return _checked_ahead(state, timezone)
    until = ageing.after(state.checked_for, good_for_slots(fresh_for))
    return f"{'fresh until' if at < until else 'stale since'} {moment(until, timezone)}"


def _checked_ahead(state: StockState, timezone: str) -> str:
    checked = max(state.checked_for or 0, state.checked_at or 0)
    return (
        f"stale: checked at {moment(checked, timezone)}, a time that has not come yet: a wrong clock; it does not count"
    )


def together(said: Iterable[tuple[str, str]]) -> str:
    """``feeds, wire: fresh; desk: stale``: who says the same, says it together."""
    by_text: dict[str, list[str]] = {}
    for name, text in said:
        by_text.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items())


def of_obstacle(held: Held, provider: str, timezone: str) -> tuple[str, str]:
    """The sentence, and the setting it comes from."""
    path = f"providers.{provider}"
    if held.reason is Reason.BUDGET_EXHAUSTED:
        path += ".budget"
    elif held.reason is Reason.REFUSED:
        path += ".api_keys"
    elif held.reason is Reason.DISK_LOW:
        path = "monitors.health.disk_floor"
    is_said = held.reason is Reason.DISK_LOW or to_iso_seconds(held.until) in str(held)
    until = "" if is_said else f" until {moment(held.until, timezone)}"
    how = (
        f"; tried at once after `scheduler-service release --provider {provider}`"
        if isinstance(held, CircuitOpen)
        else ""
    )
    return f"{held}{until} ({held.reason}){how}", path


def duration(micros: Micros) -> str:
    """``12.3 s``, or ``1 h 35 min``, cut."""
    if micros < MINUTE:
        return f"{max(0, micros) / SECOND:.1f} s"
    hours, minutes = divmod(micros // MINUTE, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(parts[:2])
