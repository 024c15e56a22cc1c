"""What a change of configuration costs: the estimate of the one before beside that of the new one."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.errors import StoreError
from scheduler_service.estimate import estimate, source_providers
from scheduler_service.settings.units import format_usd
from scheduler_service.stores.spending import note_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Ledger


class Daily(NamedTuple):
    """What one provider is asked on the busiest of the next days, at what price in US dollars; ``..._when_missing`` is
    what sources with ``when: missing`` add at most.
    """

    calls: int = 0
    usd: float = 0.0
    calls_when_missing: int = 0
    usd_when_missing: float = 0.0


class Noted(NamedTuple):
    """An estimate by provider, and of when it is: another one compares with it only as of the same time."""

    at: Instant
    by_provider: Mapping[str, Daily]


class Change(NamedTuple):
    provider: str
    before: Daily
    now: Daily

    def in_words(self) -> str:
        """``edgar: before 120 calls a day, now 480 (+360)``, with the money where there is any."""
        before, now = self.before, self.now
        said = f"{self.provider}: before {before.calls:,} calls a day, now {now.calls:,} ({_more(before, now)})"
        if before[2:] == now[2:]:
            return said
        was, will = (Daily(one.calls_when_missing, one.usd_when_missing) for one in (before, now))
        return (
            f"{said}; where better sources have nothing, at most {was.calls:,} more before, now {will.calls:,} "
            f"({_more(was, will)})"
        )


def _more(before: Daily, now: Daily) -> str:
    """``+144, +$2.88``."""
    calls = f"{now.calls - before.calls:+,}"
    if not before.usd and not now.usd:
        return calls
    return f"{calls}, {'+' if now.usd >= before.usd else '-'}{format_usd(abs(now.usd - before.usd))}"


def daily(settings: Settings, at: Instant) -> dict[str, Daily]:
    """By provider, as of ``at``."""
    found = estimate(settings, source_providers(), at)
    return {
        one.provider: Daily(
            one.calls_per_day, round(one.usd_per_day, 6), one.calls_when_missing, round(one.usd_when_missing, 6)
        )
        for one in found
    }


def changes(before: Mapping[str, Daily], now: Mapping[str, Daily]) -> list[Change]:
    """Those of the providers whose calls or cost differ."""
    found = [Change(name, before.get(name, Daily()), now.get(name, Daily())) for name in sorted({*before, *now})]
    return [change for change in found if change.before != change.now]


def between(before: Settings, after: Settings, at: Instant) -> str:
    """What the new settings ask more or less, in one line; empty where that is nothing."""
    return "; ".join(change.in_words() for change in changes(daily(before, at), daily(after, at)))


async def note(ledger: Ledger, settings: Settings, at: Instant) -> None:
    """Has the ledger remember what the settings that run now are expected to ask, to compare the next ones with.

    Where it cannot, nothing is compared.
    """
    by_provider = await asyncio.to_thread(daily, settings, at)
    with suppress(StoreError):
        await ledger.run(partial(note_estimate, text=to_text(Noted(at, by_provider))))


def to_text(noted: Noted) -> str:
    """For the ledger; ``from_text`` reads it."""
    return json.dumps({"at": noted.at, "providers": noted.by_provider})


def from_text(text: str | None) -> Noted | None:
    """None where nothing was noted, or by a program that notes it in another form."""
    try:
        said = json.loads(text or "null")
        by_provider = {
            str(name): Daily(int(calls), float(usd), int(calls_when_missing), float(usd_when_missing))
            for name, (calls, usd, calls_when_missing, usd_when_missing) in said["providers"].items()
        }
        return Noted(int(said["at"]), by_provider)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
