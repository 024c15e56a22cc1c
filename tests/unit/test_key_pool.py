"""A provider's keys as a value over time, and what a failed try means. Pure."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.calls import FREE, Cost
from scheduler_service.clock import DAY, HOUR, SECOND
from scheduler_service.errors import (
    ClientError,
    Held,
    PermanentClientError,
    RateLimited,
    Refused,
    StoreError,
    TransientClientError,
)
from scheduler_service.gates.failure import cost_of, ending, is_ambiguous
from scheduler_service.gates.keys import ROW, KeyPool, KeyState
from scheduler_service.models import Reason
from scheduler_service.stores.call_store import CallState
from scheduler_service.stores.gate_store import GateRow

NOW = 1_000 * DAY
SECRETS = ("secret-one", "secret-two", "secret-three")
AT = "https://api.example.com"


def pool(*secrets: str, at: str = AT, provider: str = "oracle") -> KeyPool:
    return KeyPool(provider, secrets or SECRETS, at)


def refuse(keys: KeyPool, now: int = NOW) -> GateRow | None:
    return keys.set_aside(keys.take(AT, now), Reason.REFUSED, now + 6 * HOUR, now)


@pytest.mark.parametrize(
    "url",
    [
        f"{AT}/v1/agent",
        "https://API.example.com:443/search?x=1",
        "HTTPS://api.EXAMPLE.com/",
        "https://someone@api.example.com/",
    ],
)
def test_a_key_is_for_every_path_of_its_origin_however_it_is_written(url: str) -> None:
    assert pool().take(url, NOW).secret == "secret-one"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1/agent",
        "https://api.example.com:444/",
        "https://api.example.com.evil.example/",
        "https://api.example.com@evil.example/",
        "https://evil.example/https://api.example.com",
        "https://xapi.example.com/",
        "//api.example.com/",
        "",
    ],
)
def test_a_key_is_for_no_other_origin(url: str) -> None:
    with pytest.raises(PermanentClientError, match="not sent to another address"):
        pool().take(url, NOW)


def test_keys_are_called_by_their_place_and_never_show_themselves() -> None:
    keys = pool()
    assert [standing.name for standing in keys.standings(NOW)] == ["key 1 of 3", "key 2 of 3", "key 3 of 3"]
    assert pool("only-one").take(AT, NOW).name == "the key"
    key = keys.take(AT, NOW)
    assert key.secret not in repr(key) + str(key) + key.row
    assert key.row.startswith(ROW)


def test_a_key_is_known_again_by_its_row_wherever_it_stands_and_at_its_provider_alone() -> None:
    keys = pool()
    row = refuse(keys)
    assert row is not None
    name = pool().take(AT, NOW).row
    others = pool("secret-new", "secret-one")
    others.restore({("oracle", name): row, ("oracle", "key:unknown"): row, ("oracle", "closed"): row})
    assert [s.state for s in others.standings(NOW)] == [KeyState.IN_USE, KeyState.REFUSED]
    elsewhere = pool(provider="seer")
    elsewhere.restore({("oracle", name): row, ("seer", name): row})
    assert elsewhere.has_usable(NOW)
    assert elsewhere.standings(NOW)[0].state is KeyState.IN_USE


def test_who_is_held_is_told_why_and_until_when() -> None:
    keys = pool("secret-one", "secret-two")
    refuse(keys)
    refuse(keys, NOW + SECOND)
    with pytest.raises(Held, match="every key was refused: wrong, or out of credit") as caught:
        keys.check(NOW + SECOND)
    assert (caught.value.reason, caught.value.until) == (Reason.REFUSED, NOW + 6 * HOUR)
    one = pool("secret-one")
    one.set_aside(one.take(AT, NOW), Reason.RATE_LIMITED, NOW + HOUR, NOW)
    with pytest.raises(Held, match="the key was asked to slow down"):
        one.take(AT, NOW)
    with pytest.raises(Held):
        one.take("https://evil.example/", NOW)


def test_a_longer_wish_for_quiet_extends_a_shorter_one_and_not_the_other_way_round() -> None:
    keys = pool("secret-one")
    key = keys.take(AT, NOW)
    assert keys.set_aside(key, Reason.RATE_LIMITED, NOW + 60 * SECOND, NOW) is not None
    assert keys.set_aside(key, Reason.RATE_LIMITED, NOW + 30 * SECOND, NOW) is None
    assert keys.set_aside(key, Reason.RATE_LIMITED, NOW + 90 * SECOND, NOW) is not None
    assert keys.standings(NOW)[0].until == NOW + 90 * SECOND


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([Reason.REFUSED, Reason.RATE_LIMITED]), st.integers(0, 2), st.integers(1, 8)),
        st.tuples(st.just("passes"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("forget"), st.just(0), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS)
def test_the_first_key_that_is_not_set_aside_is_used_also_after_a_restart(steps: list[tuple[str, int, int]]) -> None:
    keys, now = pool(), NOW
    names = [pool(secret).take(AT, NOW).row for secret in SECRETS]
    by_place = [pool(secret).take(AT, NOW) for secret in SECRETS]
    ledger: dict[tuple[str, str], GateRow] = {}
    aside: dict[int, tuple[str, int]] = {}
    for what, which, hours in steps:
        if what == "passes":
            now += which * HOUR
        elif what == "forget":
            ledger |= {("oracle", name): row for name, row in keys.forget_refusals(now).items()}
            aside = {place: how for place, how in aside.items() if how[0] != Reason.REFUSED}
        elif what == "restart":
            keys = pool()
            keys.restore(ledger)
        else:
            row = keys.set_aside(by_place[which], Reason(what), now + hours * HOUR, now)
            if row is not None:
                ledger["oracle", names[which]] = row
            known = aside.get(which)
            refused = known is not None and known[0] == Reason.REFUSED
            longer = known is None or now + hours * HOUR > known[1]
            if not refused and (longer or what == Reason.REFUSED):
                aside[which] = (what, now + hours * HOUR)
        aside = {place: how for place, how in aside.items() if how[1] > now}
        states = [standing.state for standing in keys.standings(now)]
        for place, state in enumerate(states):
            wanted = {Reason.REFUSED: KeyState.REFUSED, Reason.RATE_LIMITED: KeyState.COOLING}
            assert state == (wanted[Reason(aside[place][0])] if place in aside else state)
            assert (place in aside) == (state in wanted.values())
        free = [place for place in range(3) if place not in aside]
        if free:
            assert keys.take(AT, now).secret == SECRETS[free[0]]
            assert states.index(KeyState.IN_USE) == free[0]
        else:
            with pytest.raises(Held) as caught:
                keys.take(AT, now)
            assert caught.value.until == min(until for _, until in aside.values())


# what a failed try means


def costing(error: ClientError, cost: Cost) -> ClientError:
    error.cost = cost
    return error


TIMEOUT = TransientClientError("not answered", Reason.TIMEOUT)
SERVER = TransientClientError("503", Reason.PROVIDER_DOWN, status=503)
GATEWAY = TransientClientError("504", Reason.TIMEOUT, status=504)
EMPTY = TransientClientError("200, but no JSON", Reason.PROVIDER_DOWN, status=200)
REFUSED = Refused("401", Reason.REFUSED, status=401)


@pytest.mark.parametrize(
    ("error", "cost"),
    [
        (TIMEOUT, None),
        (EMPTY, None),
        (SERVER, FREE),
        (GATEWAY, None),
        (REFUSED, FREE),
        (RateLimited("429", Reason.RATE_LIMITED, status=429), FREE),
        (costing(TransientClientError("500", Reason.PROVIDER_DOWN, status=500), Cost(5)), Cost(5)),
        (costing(TransientClientError("refused", Reason.PROVIDER_DOWN), FREE), FREE),
        (PermanentClientError("too large", Reason.TOO_LARGE), None),
        (StoreError("disk full"), None),
        (asyncio.CancelledError(), None),
        (ZeroDivisionError(), None),
    ],
)
def test_only_what_is_known_to_be_free_is_free(error: BaseException, cost: Cost | None) -> None:
    assert cost_of(error, left=True) == cost
    assert cost_of(error, left=False) == FREE


@pytest.mark.parametrize(
    ("error", "ambiguous"),
    [
        (TIMEOUT, True),
        (EMPTY, True),
        (costing(TransientClientError("200, failed", Reason.PROVIDER_DOWN, status=200), Cost(5)), True),
        (SERVER, False),
        (GATEWAY, True),
        (costing(TransientClientError("refused", Reason.PROVIDER_DOWN), FREE), False),
        (PermanentClientError("too large", Reason.TOO_LARGE), False),
    ],
)
def test_a_failure_is_ambiguous_where_trying_again_may_pay_twice(error: ClientError, *, ambiguous: bool) -> None:
    assert is_ambiguous(error) is ambiguous


def test_what_was_cut_off_is_lost_only_if_it_had_left() -> None:
    assert ending(asyncio.CancelledError(), left=True) == (CallState.LOST, Reason.CANCELLED)
    assert ending(asyncio.CancelledError(), left=False) == (CallState.FAILED, Reason.CANCELLED)
    assert ending(StoreError("disk full"), left=True) == (CallState.LOST, Reason.DISK_FAILED)
    assert ending(Held("quiet", Reason.REFUSED, NOW), left=False) == (CallState.FAILED, Reason.REFUSED)
    assert ending(ZeroDivisionError(), left=True) == (CallState.FAILED, Reason.INTERNAL_ERROR)
