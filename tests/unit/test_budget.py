"""What a budget allows: its limits, what is kept back, and the account it goes by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.calls import Cost
from scheduler_service.clock import DAY, HOUR, from_iso
from scheduler_service.errors import Held
from scheduler_service.gates.budget import Account, Period, Unit, in_the_way, limits_of, next_month
from scheduler_service.models import Reason
from scheduler_service.settings.providers import Budget
from scheduler_service.stores.call_store import Spend

NOW = from_iso("2026-11-23T14:30:00Z")
MIDNIGHT, DECEMBER = from_iso("2026-11-24T00:00:00Z"), from_iso("2026-12-01T00:00:00Z")
CENT = Cost(usd_micros=10_000, tokens=100)
SPENT = {
    "2026-10-31": Spend(1_000, 9_000_000, 100_000),
    "2026-11-02": Spend(7, 300_000, 4_000),
    "2026-11-23": Spend(3, 60_000, 500),
}


def budget(**limits: Any) -> Budget:
    return Budget.model_validate(limits)


def account(spent: dict[str, Spend] | None = None, **limits: Any) -> Account:
    made = Account("desk", budget(**limits))
    made.restore(spent or {})
    return made


def test_each_limit_says_what_is_used_of_it_and_when_it_starts_anew() -> None:
    limits = limits_of(budget(calls_per_day=10, tokens_per_month=9_000, usd_per_month=2.0, reserve="20%"), SPENT, NOW)
    assert [(one.unit, one.period, one.most, one.kept, one.used, one.until) for one in limits] == [
        (Unit.CALLS, Period.DAY, 10, 2, 3, MIDNIGHT),
        (Unit.TOKENS, Period.MONTH, 9_000, 1_800, 4_500, DECEMBER),
        (Unit.USD, Period.MONTH, 2_000_000, 400_000, 360_000, DECEMBER),
    ]
    assert limits_of(budget(), SPENT, NOW) == ()


@pytest.mark.parametrize(
    ("reserve", "calls", "kept"), [("0%", 10, 0), ("20%", 1, 0), ("29%", 100, 29), ("33%", 10, 3), ("100%", 7, 7)]
)
def test_what_is_kept_back_is_rounded_down(reserve: str, calls: int, kept: int) -> None:
    (limit,) = limits_of(budget(calls_per_day=calls, reserve=reserve), {}, NOW)
    assert limit.kept == kept


@pytest.mark.parametrize(
    ("limits", "said", "until"),
    [
        ({"calls_per_day": 3}, "desk: the budget's 3 calls of today are used; it starts anew at", MIDNIGHT),
        ({"calls_per_month": 10}, "desk: the budget's 10 calls of this month are used; it starts anew at", DECEMBER),
        ({"tokens_per_day": 599}, "599 tokens of today are used", MIDNIGHT),
        ({"tokens_per_month": 4_500}, "4,500 tokens of this month are used", DECEMBER),
        ({"usd_per_day": 0.06}, "0.06 USD of today are spent", MIDNIGHT),
        ({"usd_per_month": 0.36}, "0.36 USD of this month are spent", DECEMBER),
        ({"usd_per_day": 0.06, "usd_per_month": 0.36}, "0.36 USD of this month are spent", DECEMBER),
        ({"calls_per_day": 4, "reserve": "25%"}, "used, but for 1 call kept for people and high priority", MIDNIGHT),
    ],
)
def test_a_call_that_would_pass_a_limit_is_held_until_that_starts_anew(
    limits: dict[str, Any], said: str, until: int
) -> None:
    with pytest.raises(Held) as caught:
        account(SPENT, **limits).check(CENT, NOW, urgent=False)
    assert said in str(caught.value)
    assert (caught.value.reason, caught.value.until) == (Reason.BUDGET_EXHAUSTED, until)


def test_the_last_call_that_fits_may_leave() -> None:
    fits = {"calls_per_day": 4, "tokens_per_day": 600, "usd_per_day": 0.07, "usd_per_month": 0.37}
    account(SPENT, **fits).check(CENT, NOW, urgent=False)
    assert in_the_way(limits_of(budget(**fits), SPENT, NOW), CENT, urgent=False) is None


def test_what_is_kept_back_is_for_who_is_urgent_and_no_more_than_that() -> None:
    it = account(usd_per_day=0.05, reserve="20%")
    left = {True: 0, False: 0}
    for urgent in (False, True):
        while it.obstacle(CENT, NOW, urgent=urgent) is None:
            it.charge(CENT, NOW)
            left[urgent] += 1
    assert left == {False: 4, True: 1}


def test_that_others_are_held_stays_known_while_who_is_urgent_goes_on() -> None:
    it = account(usd_per_day=0.05, reserve="20%")
    for _ in range(4):
        it.charge(CENT, NOW)
    with pytest.raises(Held):
        it.check(CENT, NOW, urgent=False)
    it.check(CENT, NOW, urgent=True)
    assert (held := it.exhausted(NOW)) is not None
    assert held.until == MIDNIGHT
    assert it.exhausted(MIDNIGHT) is None


def test_a_call_too_dear_for_what_is_left_is_told_until_a_cheaper_one_leaves() -> None:
    it = account(SPENT, usd_per_day=0.065)
    assert it.exhausted(NOW) is None
    with pytest.raises(Held):
        it.check(CENT, NOW, urgent=False)
    assert it.exhausted(NOW) is not None
    it.check(Cost(usd_micros=1_000), NOW, urgent=False)
    assert it.exhausted(NOW) is None


def test_months_follow_the_calendar() -> None:
    assert next_month(from_iso("2026-12-31T23:59:59Z")) == from_iso("2027-01-01T00:00:00Z")
    assert next_month(from_iso("2028-01-31T00:00:00Z")) == from_iso("2028-02-01T00:00:00Z")


costs = st.builds(Cost, st.integers(0, 50_000), st.integers(0, 5_000))


@given(
    calls=st.lists(st.tuples(costs, st.booleans(), st.integers(0, 40 * 24), st.none() | costs), max_size=40),
    most=st.integers(0, 20),
    usd=st.floats(0, 0.5),
    tokens=st.integers(0, 20_000),
    reserve=st.integers(0, 100),
)
def test_whatever_is_asked_a_limit_is_passed_by_no_reservation_and_the_urgent_have_the_rest(
    calls: list[tuple[Cost, bool, int, Cost | None]], most: int, usd: float, tokens: int, reserve: int
) -> None:
    it = account(calls_per_day=most, usd_per_day=usd, tokens_per_month=tokens, reserve=f"{reserve}%")
    for expected, urgent, hours, cost in sorted(calls, key=lambda call: call[2]):
        now = NOW + hours * HOUR
        held = it.obstacle(expected, now, urgent=urgent)
        if urgent is False and held is None:
            assert it.obstacle(expected, now, urgent=True) is None
        if held is not None:
            assert held.until - now <= 31 * DAY
            continue
        day = it.charge(expected, now)
        for limit in it.limits(now):
            assert limit.used <= limit.most - (0 if urgent else limit.kept) or limit.takes(expected) == 0
        if cost is None:
            continue
        before = it.by_day[day]
        it.settle(day, expected, Cost(min(cost.usd_micros, expected.usd_micros), min(cost.tokens, expected.tokens)))
        assert it.by_day[day].calls == before.calls
