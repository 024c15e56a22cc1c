"""When a notice is told, and whether: cool-down, quiet hours, pauses between tries, the flood. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, HOUR, SECOND
from scheduler_service.stores.delivery_store import CRITICAL, HELD, SUPPRESSED, WAITING
from scheduler_service.windows import parse_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Notice
    from scheduler_service.stores.delivery_store import ChannelStanding, LastTold

LONGEST_PAUSE: Micros = HOUR
GIVEN_UP_AFTER: Micros = 3 * DAY
MOST_HEADLINES = 10
LONGEST_HEADLINE = 200


def what_becomes_of(notice: Notice, last: LastTold | None, cool_down: Micros, now: Instant) -> tuple[str, Instant]:
    """The state a delivery begins in, and from when on it may be told. ``last``: what the channel was told last of the
    same event and symbol, within the cool-down.

    A key that ends in a time is of how something is, which was told when it was told last. Every other one is a story
    of its own: it waits, to be told with others like it.
    """
    if last is None:
        return WAITING, now
    about, is_of_a_state, _ = notice.key.partition("@")
    if is_of_a_state:
        return (SUPPRESSED if last.key.partition("@")[0] == about else WAITING), now
    return (WAITING, now) if notice.level == CRITICAL else (HELD, last.at + cool_down)


def quiet_until(quiet_hours: str | None, timezone: str, now: Instant) -> Instant | None:
    """When the quiet hours that hold now end; None outside them. ``quiet_hours``: ``22:00-07:00``."""
    if quiet_hours is None:
        return None
    spans = list(parse_window({"hours": quiet_hours}, timezone).spans(now - DAY, now + 2 * DAY))
    until = next((span.end for span in spans if span.start <= now < span.end), None)
    for span in spans:  # a span is cut where the clocks change
        until = span.end if until is not None and span.start == until else until
    return until


def pause_after(tries: int, chance: float) -> Micros:
    """Full jitter: a share (``chance``, 0 to 1) of one second doubled with every try, at most an hour; never none."""
    longest = min(LONGEST_PAUSE, SECOND << min(tries, 30))
    return max(SECOND // 2, round(longest * chance))


@dataclass(frozen=True, slots=True)
class Wait:
    """``until`` None: nothing waits."""

    until: Instant | None


@dataclass(frozen=True, slots=True)
class Send:
    notice_id: int


@dataclass(frozen=True, slots=True)
class TellHeld:
    """What the cool-down has held back of one event and symbol becomes one message."""


@dataclass(frozen=True, slots=True)
class SumUp:
    """All that is due and not critical becomes one message, the last that the hour has room for."""


def next_step(
    standing: ChannelStanding, most_per_hour: int | None, now: Instant, quiet: Instant | None = None
) -> Wait | Send | TellHeld | SumUp:
    """What a channel is to do. It is told in order, and what it did not take is tried again before anything else. Of a
    flood, what is still being queued is awaited: it belongs to what is summed up. ``quiet``: until when only what is
    critical is told, however long the rest has waited.
    """
    if standing.backing_off_until is not None and standing.backing_off_until > now:
        return Wait(standing.backing_off_until)
    if quiet is not None:
        return Wait(quiet) if standing.critical is None else Send(standing.critical)
    return TellHeld() if standing.held_is_due else _within_the_hour(standing, most_per_hour, now)


def _within_the_hour(standing: ChannelStanding, most_per_hour: int | None, now: Instant) -> Wait | Send | SumUp:
    room = None if most_per_hour is None else most_per_hour - len(standing.sent)
    if room is not None and room <= 0:
        if standing.critical is not None:
            return Send(standing.critical)
        if standing.first is None:
            return Wait(standing.next_due)
        again = standing.sent[-room] + HOUR
        return Wait(again if standing.next_due is None else min(again, standing.next_due))
    if room == 1 and standing.to_sum_up > 1 and not standing.has_digest:
        return Wait(now + SECOND) if standing.more_to_come else SumUp()
    return Wait(standing.next_due) if standing.first is None else Send(standing.first)


def digest_words(counts: Mapping[str, int]) -> str:
    """``and 412 more: 400 risk.breach, 12 news.high_impact; see ...``; ``counts``: by event."""
    each = ", ".join(f"{n:,} {event}" for event, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    return f"and {sum(counts.values()):,} more: {each}; see: scheduler-service history --strategy"


def held_words(headlines: Sequence[str]) -> str:
    """``2 more: A raises its outlook; A buys B``: what was held back, to be read without looking elsewhere."""
    told = "; ".join(headline[:LONGEST_HEADLINE] for headline in headlines[:MOST_HEADLINES])
    untold = len(headlines) - MOST_HEADLINES
    rest = f"; and {untold:,} more, see: scheduler-service history --strategy" if untold > 0 else ""
    return f"{len(headlines):,} more: {told}{rest}"
