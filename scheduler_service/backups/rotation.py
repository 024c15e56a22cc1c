"""Which backups stay. Pure: it is told what there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.clock import DAY, SECOND, from_datetime, to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from scheduler_service.clock import Instant

SUFFIX = ".tar.zst"
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"scheduler-backup-([0-9a-f]{8})-(\d{8}T\d{6}Z)\.tar\.zst")


class Kept(NamedTuple):
    """A backup by its file's name."""

    name: str
    identity: str
    made_at: Instant


def name_for(identity: str, at: Instant, taken: Iterable[str] = ()) -> str:
    """``scheduler-backup-3fa2b1c0-20261124T020000Z.tar.zst``: the first second from ``at`` on whose name is free."""
    there = frozenset(taken)
    while (name := f"scheduler-backup-{identity}-{to_datetime(at):{_STAMP}}{SUFFIX}") in there:
        at += SECOND
    return name


def parse_name(name: str) -> Kept | None:
    """None where the file is not one of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        made_at = from_datetime(datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC))
    except ValueError:  # the 31st of February
        return None
    return Kept(name, match[1], made_at)


def superseded(
    names: Iterable[str], *, identity: str, just_made: str, now: Instant, daily: int, weekly: int
) -> list[str]:
    """The names to remove: all but the newest of each of the last ``daily`` days and ``weekly`` weeks (UTC, Monday to
    Sunday) that have one.

    What was ``just_made`` stays, the newest, and all of the last 24 hours: the newest may hold what somebody has just
    spoilt. Nothing is said of files of other ledgers or names, nor of those that
    claim to be of the future, when one of the two clocks was wrong.
    """
    ours = [kept for name in names if (kept := parse_name(name)) is not None and kept.identity == identity]
    past = sorted((kept for kept in ours if kept.made_at <= now), key=lambda kept: kept.made_at, reverse=True)
    stay = {just_made, *(kept.name for kept in past if kept is past[0] or kept.made_at > now - DAY)}
    stay |= _newest_of_each(past, daily, lambda kept: to_datetime(kept.made_at).date())
    stay |= _newest_of_each(past, weekly, lambda kept: to_datetime(kept.made_at).isocalendar()[:2])
    return sorted(kept.name for kept in past if kept.name not in stay)


def _newest_of_each(newest_first: Sequence[Kept], most: int, span: Callable[[Kept], Hashable]) -> set[str]:
    found: dict[Hashable, str] = {}
    for kept in newest_first:
        if len(found) < most or span(kept) in found:
            found.setdefault(span(kept), kept.name)
    return set(found.values())
