"""A schedule as the ledger keeps it: it is accounted for also when the configuration has another one, or none."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from scheduler_service.settings.loaded import Schedule
from scheduler_service.settings.model import Tagged
from scheduler_service.stores.schedule_store import ScheduleRow
from scheduler_service.triggers import restore_trigger
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from scheduler_service.clock import Instant
    from scheduler_service.models import ScheduleOrigin
    from scheduler_service.windows import Calendars


def definition(schedule: Schedule) -> str:
    """One text per meaning; ``restore`` reads it."""
    return json.dumps(
        {
            "domain": schedule.domain,
            **_selection(schedule),
            "trigger": schedule.trigger.canonical(),
            "catch_up": schedule.catch_up,
            "catch_up_window": schedule.catch_up_window,
            "overlap": schedule.overlap,
            "spread": schedule.spread,
            "priority": schedule.priority,
        },
        sort_keys=True,
    )


def restore(schedule_id: str, text: str, calendars: Calendars = usual_hours) -> Schedule | None:
    """The schedule that ``definition`` wrote down; None where that was another version, or it names an exchange or a
    zone that is not known here any more.
    """
    try:
        return _restored(schedule_id, json.loads(text), calendars)
    except (ValueError, LookupError):
        return None


def _restored(schedule_id: str, said: dict[str, Any], calendars: Calendars) -> Schedule:
    return Schedule(
        id=schedule_id,
        domain=said["domain"],
        symbols=_symbols(said),
        trigger=restore_trigger(said["trigger"], calendars),
        catch_up=said["catch_up"],
        catch_up_window=said["catch_up_window"],
        overlap=said["overlap"],
        spread=said["spread"],
        priority=said["priority"],
        enabled=True,
    )


def as_row(schedule: Schedule, origin: ScheduleOrigin, since: Instant) -> ScheduleRow:
    """What the ledger keeps of a schedule that is in force from now on."""
    text, mark = definition(schedule), fingerprint(schedule)
    return ScheduleRow(schedule.id, origin, schedule.domain, text, mark, since, since)


def fingerprint(schedule: Schedule) -> str:
    """What decides when a schedule is due: a change of it makes the schedule effective anew."""
    decisive = f"{schedule.domain}\0{schedule.trigger.canonical()}"
    return hashlib.sha256(decisive.encode()).hexdigest()[:32]


def _selection(schedule: Schedule) -> dict[str, Any]:
    if not isinstance(schedule.symbols, Tagged):
        return {"symbols": schedule.symbols}
    stalest = {} if schedule.symbols.stalest is None else {"stalest": schedule.symbols.stalest}
    return {"tags": sorted(schedule.symbols.tags), **stalest}


def _symbols(said: dict[str, Any]) -> str | tuple[str, ...] | Tagged:
    if "tags" in said:
        return Tagged(tags=frozenset(said["tags"]), stalest=said.get("stalest"))
    symbols = said["symbols"]
    return tuple(symbols) if isinstance(symbols, list) else str(symbols)
