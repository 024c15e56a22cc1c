"""What holds for any prices whatsoever: breaches alternate with clearings, and no restart changes what is told."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso, to_iso
from scheduler_service.monitors.portfolio import Portfolio, Position
from scheduler_service.monitors.risk import Limits, Price
from scheduler_service.monitors.risk_monitor import Seen
from tests.monitor_support import Told, risk_monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.models import Notice

D = Decimal
START = from_iso("2026-11-23T15:00:00Z")
LIMITS = Limits(D(5), D(15))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
HELD = Portfolio(
    {
        "A": Position("A", D(10), D(100), None, (2,)),
        "B": Position("B", D(-10), D(100), D(108), (3,)),
        "C": Position("C", D(1), D(100), None, (4,)),
    }
)


class Look(NamedTuple):
    """``prices``: None for a stale one. ``later``: how much time has passed, which may be less than none."""

    prices: dict[str, Decimal | None]
    later: int
    restarts: bool


PRICES = st.one_of(st.none(), st.decimals("60", "140", places=2))
LATER = st.sampled_from([MINUTE, MINUTE, HOUR, DAY, -HOUR, 0])
LOOKS = st.lists(
    st.builds(Look, st.fixed_dictionaries(dict.fromkeys(HELD.positions, PRICES)), LATER, st.booleans()), max_size=25
)


def seen(look: Look, now: int) -> Seen:
    prices = {s: Price(p, D(100), "USD", to_iso(now), "x") for s, p in look.prices.items() if p is not None}
    stale = {symbol: "2026-11-20T21:00:00Z" for symbol, price in look.prices.items() if price is None}
    return Seen(HELD, prices, stale, None, dict.fromkeys(prices, to_iso(now)[:10]))


def tell(looks: Sequence[Look], *, with_restarts: bool) -> list[Notice]:
    told, now = Told(risk_monitor(Path("p.csv"), LIMITS)), START
    notices: list[Notice] = []
    for look in looks:
        now += look.later + 1
        if look.restarts and with_restarts:
            told.monitor = risk_monitor(Path("p.csv"), LIMITS)
        notices += told.notices(seen(look, now), now)
    return notices


def subject(notice: Notice) -> str:
    """``stop:A`` of ``risk.breach:stop:A:2@...``; a move is one of its day."""
    name = notice.key.partition(":")[2].partition("@")[0]
    if notice.event == "risk.breach":
        name = name.rpartition(":")[0]
    if name.startswith("move:"):
        return f"{name} on {notice.facts['provenance']['as_of'][:10]}"
    return name


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(LOOKS)
def test_breaches_get_worse_until_they_clear_and_never_repeat_a_level(looks: list[Look]) -> None:
    notices = [n for n in tell(looks, with_restarts=True) if n.event in ("risk.breach", "risk.cleared")]
    for name, mine in groupby(sorted(notices, key=subject), key=subject):
        level = 0
        for notice in mine:
            if notice.event == "risk.cleared":
                assert level, f"{name} has cleared, and was none"
                level = 0
            else:
                worse = int(notice.key.partition("@")[0].rpartition(":")[2])
                assert worse > level, f"{name} is told twice at {level}"
                level = worse


@settings(max_examples=50, deadline=None, phases=PHASES)
@given(LOOKS)
def test_a_restart_at_any_point_changes_nothing_that_is_told(looks: list[Look]) -> None:
    assert tell(looks, with_restarts=True) == tell(looks, with_restarts=False)
