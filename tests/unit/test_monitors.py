"""What monitors tell: each change once, again when it got worse or came back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso, to_iso
from scheduler_service.exchanges import find_exchange
from scheduler_service.market_calendar import Calendar, Session
from scheduler_service.monitors.doubtful_prices import DoubtfulPrice
from scheduler_service.monitors.health_monitor import HealthMonitor, Vitals
from scheduler_service.monitors.market_monitor import MarketMonitor, market
from scheduler_service.monitors.portfolio import Portfolio, Position
from scheduler_service.monitors.risk import Limits, Price
from scheduler_service.monitors.risk_monitor import Seen, read_price
from scheduler_service.monitors.splits import Closes, closes_at
from tests.monitor_support import Told, risk_monitor

if TYPE_CHECKING:
    pass

D = Decimal
NOW = from_iso("2026-11-23T15:00:00Z")


def sessions(*days: str, early: bool = False) -> Calendar:
    closing = "18" if early else "21"
    made = tuple(
        Session(date.fromisoformat(day), from_iso(f"{day}T14:30:00Z"), from_iso(f"{day}T{closing}:00:00Z"), (), early)
        for day in days
    )
    return Calendar(find_exchange("XNYS"), made, date(2026, 11, 1), date(2026, 12, 31), NOW)


class TestMarket:
    CALENDAR = sessions("2026-11-23", "2026-11-24", "2026-11-27")

    def monitor(self, calendar: Calendar | None = None) -> Told:
        return Told(MarketMonitor(["XNYS"], lambda name: calendar or self.CALENDAR))

    def test_it_opens_and_closes_once_each(self) -> None:
        told, start = self.monitor(), from_iso("2026-11-22T00:00:00Z")
        said = [event for minute in range(0, 3 * 24 * 60, 2) for event in told.look(None, start + minute * MINUTE)]
        assert said == [
            "market.opened: XNYS is open until 2026-11-23T21:00:00Z",
            "market.closed: XNYS has closed; it opens 2026-11-24T14:30:00Z",
            "market.opened: XNYS is open until 2026-11-24T21:00:00Z",
            "market.closed: XNYS has closed; it opens 2026-11-27T14:30:00Z (holiday on 2026-11-25, "
            "holiday on 2026-11-26)",
        ]

    def test_an_opening_that_was_missed_is_told_late_and_one_that_is_over_is_not(self) -> None:
        told = self.monitor()
        [said] = told.look(None, from_iso("2026-11-23T16:30:00Z"))
        assert said == "market.opened: XNYS is open until 2026-11-23T21:00:00Z, told 2 h late"
        assert self.monitor().look(None, from_iso("2026-11-23T22:00:00Z")) == []

    def test_a_closing_that_was_slept_through_is_told_with_the_next_opening(self) -> None:
        told = self.monitor()
        told.look(None, from_iso("2026-11-23T15:00:00Z"))
        said = told.look(None, from_iso("2026-11-24T14:30:00Z"))
        assert [one.partition(":")[0] for one in said] == ["market.closed", "market.opened"]

    def test_a_half_day_is_named_and_a_holiday_is_silent(self) -> None:
        half = self.monitor(sessions("2026-11-27", early=True))
        assert half.look(None, from_iso("2026-11-26T16:00:00Z")) == []
        assert half.look(None, from_iso("2026-11-27T14:30:00Z")) == [
            "market.opened: XNYS is open (a half day) until 2026-11-27T18:00:00Z"
        ]

    def test_a_holiday_on_the_way_to_the_next_session_is_named(self) -> None:
        half = sessions("2026-11-25", "2026-11-27", early=True)
        said = market("XNYS", half, from_iso("2026-11-25T19:00:00Z"))
        assert (said.open, said.note) == (False, "holiday on 2026-11-26, then a half day")

    def test_an_opening_that_was_told_has_its_closing_also_after_days(self) -> None:
        told = self.monitor()
        told.look(None, from_iso("2026-11-24T15:00:00Z"))
        [late] = told.look(None, from_iso("2026-11-26T22:00:00Z"))
        assert late.startswith("market.closed: XNYS has closed, told 49 h late")
        assert len(told.look(None, from_iso("2026-11-27T14:30:00Z"))) == 1

    def test_a_closing_of_a_month_ago_is_told_by_nobody(self) -> None:
        told = self.monitor()
        told.look(None, from_iso("2026-11-24T15:00:00Z"))
        assert not [one for one in told.look(None, from_iso("2026-12-24T15:00:00Z")) if "closed" in one]

    def test_where_the_calendar_does_not_reach_nothing_is_claimed(self) -> None:
        unknown = Calendar(find_exchange("XNYS"))
        assert self.monitor(unknown).look(None, NOW) == []
        assert market("XNYS", unknown, NOW).open is None

    def test_what_is_and_what_comes_next(self) -> None:
        assert market("XNYS", self.CALENDAR, NOW).until == from_iso("2026-11-23T21:00:00Z")
        closed = market("XNYS", self.CALENDAR, from_iso("2026-11-24T22:00:00Z"))
        assert (closed.open, closed.until) == (False, from_iso("2026-11-27T14:30:00Z"))

    def test_a_lunch_break_is_neither_open_nor_a_close(self) -> None:
        tokyo = Session(
            date(2026, 11, 24),
            from_iso("2026-11-24T00:00:00Z"),
            from_iso("2026-11-24T06:30:00Z"),
            ((from_iso("2026-11-24T02:30:00Z"), from_iso("2026-11-24T03:30:00Z")),),
        )
        calendar = Calendar(find_exchange("XTKS"), (tokyo,), date(2026, 11, 1), date(2026, 12, 31), NOW)
        looks = ["2026-11-24T02:29:59Z", "2026-11-24T02:30:00Z", "2026-11-24T03:29:59Z", "2026-11-24T03:30:00Z"]
        seen = [market("XTKS", calendar, from_iso(at)) for at in looks]
        assert [one.open for one in seen] == [True, False, False, True]
        assert [one.on_break for one in seen] == [False, True, True, False]
        assert [to_iso(one.until or 0)[11:16] for one in seen] == ["02:30", "03:30", "03:30", "06:30"]
        told = Told(MarketMonitor(["XTKS"], lambda name: calendar))
        start = from_iso("2026-11-23T23:00:00Z")
        said = [event for minute in range(9 * 60) for event in told.look(None, start + minute * MINUTE)]
        assert said == [
            "market.opened: XTKS is open until 2026-11-24T06:30:00Z, but for its break from 2026-11-24T02:30:00Z to "
            "2026-11-24T03:30:00Z",
            "market.closed: XTKS has closed",
        ]

    def test_it_rests_until_something_happens(self) -> None:
        monitor = MarketMonitor(["XNYS"], lambda name: self.CALENDAR)
        assert monitor.rest(from_iso("2026-11-23T20:58:00Z")) == 2 * MINUTE
        assert monitor.rest(from_iso("2026-11-23T16:00:00Z")) == 5 * MINUTE


class TestRisk:
    LIMITS = Limits(D(5), D(15))

    def monitor(self) -> Told:
        return Told(risk_monitor(Path("p.csv"), self.LIMITS))

    def seen(
        self,
        prices: dict[str, str],
        *positions: Position,
        close: str | None = None,
        stale: dict[str, str] | None = None,
        day: str = "2026-11-23",
        closes: Closes | None = None,
    ) -> Seen:
        of = {
            symbol: Price(D(price), None if close is None else D(close), "USD", f"{day}T15:00:00Z", "finnhub")
            for symbol, price in prices.items()
        }
        places = {} if closes is None else dict.fromkeys(of, closes)
        days = dict.fromkeys(of, day)
        return Seen(Portfolio({p.symbol: p for p in positions}), of, stale or {}, None, days, places)

    def stops(self, said: list[str]) -> list[str]:
        return [one for one in said if "stop" in one]

    def test_a_stop_is_told_once_again_when_worse_and_again_after_it_cleared(self) -> None:
        told, held = self.monitor(), Position("A", D(10), D(100), None, (2,))

        def at(price: str, minute: int) -> list[str]:
            return self.stops(told.look(self.seen({"A": price}, held), NOW + minute * MINUTE))

        assert at("95.01", 0) == []
        [said] = at("95", 1)
        assert "risk.breach: A at 95 is past its stop of 95: the position bought at 100 has lost 5.0 %" in said
        assert at("94.9", 2) == []
        assert at("93", 3) == []
        assert len(at("92.4", 4)) == 1, "half of the limit worse"
        assert at("93", 5) == at("92.4", 6) == []
        assert at("95.1", 7) == [], "within the hysteresis it has not cleared"
        assert at("94", 8) == []
        [cleared] = at("97", 9)
        assert cleared.startswith("risk.cleared: stop of A has cleared")
        assert len(at("94", 10)) == 1

    @pytest.mark.parametrize(("price", "breach"), [("104.9", False), ("105", True), ("90", False)])
    def test_a_short_position_loses_when_the_price_rises(self, price: str, breach: bool) -> None:
        said = self.monitor().look(self.seen({"A": price}, Position("A", D(-10), D(100))), NOW)
        assert bool(self.stops(said)) is breach

    @pytest.mark.parametrize(("price", "breach"), [("80.1", False), ("80", True)])
    def test_a_stop_of_its_own_counts_instead(self, price: str, breach: bool) -> None:
        said = self.monitor().look(self.seen({"A": price}, Position("A", D(10), D(100), D(80))), NOW)
        assert bool(self.stops(said)) is breach

    def test_shares_of_the_whole_and_its_loss(self) -> None:
        many = [Position(f"S{n}", D(10), D(100)) for n in range(9)]
        prices = {p.symbol: "100" for p in many}
        assert self.monitor().look(self.seen(prices, *many), NOW) == []
        said = self.monitor().look(self.seen({**prices, "S0": "200"}, *many), NOW)
        assert [one for one in said if "of the portfolio" in one] == [
            "risk.breach: S0 is 20.0 % of the portfolio (2,000.00 of 10,000.00 USD)"
        ]
        said = self.monitor().look(self.seen({**prices, "S0": "500"}, *many), NOW)
        assert any("38.5 % of the portfolio (very high" in one for one in said)
        said = self.monitor().look(self.seen(dict.fromkeys(prices, "90"), *many), NOW)
        assert any("the portfolio has lost 10.0 % of what it cost (900.00 of 9,000.00 USD)" in one for one in said)

    def test_a_move_counts_by_the_day(self) -> None:
        told, held = self.monitor(), Position("A", D(1), D(1))

        def moves(price: str, day: str, minute: int) -> int:
            said = told.look(self.seen({"A": price}, held, close="100", day=day), NOW + minute * MINUTE)
            return sum("has moved" in one and "cleared" not in one for one in said)

        assert [moves("102.9", "2026-11-23", 0), moves("103", "2026-11-23", 1), moves("104", "2026-11-23", 2)] == [
            0,
            1,
            0,
        ]
        assert moves("105", "2026-11-23", 3) == 1
        assert moves("97", "2026-11-24", 1440) == 1, "another day"

    def split_story(self, *days: tuple[str, str, str]) -> list[str]:
        """``days``: a date, a price, a previous close; one look each."""
        told, held = self.monitor(), Position("A", D(10), D(400), None, (2,))
        said = []
        for place, (day, price, close) in enumerate(days):
            said += told.look(self.seen({"A": price}, held, close=close, day=day), NOW + place * DAY)
        return [one for one in said if "of the portfolio" not in one]

    def test_a_split_is_told_and_no_breach(self) -> None:
        said = self.split_story(("2026-11-23", "404", "400"), ("2026-11-24", "100", "101"), ("2026-11-25", "99", "100"))
        [split] = said
        assert split.startswith(
            "risk.split_suspected: A looks as if it was split: its previous close is 101, and was 400"
        )

    def test_a_crash_is_a_breach_and_no_split(self) -> None:
        said = self.split_story(
            ("2026-11-23", "404", "400"), ("2026-11-24", "200", "404"), ("2026-11-25", "190", "200")
        )
        assert not any("split" in one for one in said)
        assert any("A at 200 is past its stop of 380" in one for one in said)

    MONDAY, TUESDAY, WEDNESDAY = (from_iso(f"2026-11-{day}T21:00:00Z") for day in (23, 24, 25))

    def small_split(
        self, ended: str, close: str, price: str, *, at: int | None = MONDAY, before: int | None = MONDAY
    ) -> tuple[Told, list[str]]:
        """A session that ends at a price; then one with a previous close and a price. Each is looked at twice."""
        told, held = self.monitor(), Position("A", D(10), D(100), None, (2,))
        told.look(self.seen({"A": ended}, held, close=ended, closes=Closes(at)), NOW)
        after = self.seen({"A": price}, held, close=close, day="2026-11-24", closes=Closes(None, before))
        said = told.look(after, NOW + DAY) + told.look(after, NOW + DAY + MINUTE)
        return told, [one for one in said if "of the portfolio" not in one]

    @pytest.mark.parametrize(
        ("close", "shares"), [("66.67", "3 for 2"), ("75", "4 for 3"), ("80", "5 for 4"), ("79.80", "5 for 4")]
    )
    def test_a_small_split_is_told_by_the_price_at_which_the_session_before_ended(
        self, close: str, shares: str
    ) -> None:
        told, [said] = self.small_split("100", close, str(D(close) + 1))
        assert said.startswith(
            f"risk.split_suspected: A looks as if it was split: its previous close is {close}, and the session before "
            f"ended at 100, as {shares} makes it; "
        )
        mended = Position("A", D(15), D(70), None, (2,))
        after = self.seen({"A": "60"}, mended, close=close, day="2026-11-24", closes=Closes(None, self.MONDAY))
        said_then = told.look(after, NOW + DAY + HOUR)
        assert any("A at 60 is past its stop" in one for one in said_then)
        assert not any("split" in one for one in said_then)

    @pytest.mark.parametrize(
        ("why", "ended", "close", "price", "changes"),
        [
            ("a fall overnight: the previous close is the last price", "100", "100", "66.67", {}),
            ("a rise overnight", "100", "100", "133", {}),
            ("no ratio of a split", "100", "70", "70", {}),
            ("a special dividend", "100", "90", "90", {}),
            ("nearly the ratio, but not exactly", "100", "79", "79", {}),
            ("the other way round", "80", "100", "100", {}),
            ("the price is still the old one: who knows?", "100", "80", "100", {}),
            ("the price has fallen far since", "100", "80", "70", {}),
            ("a price from the middle of the session", "100", "80", "80", {"at": None}),
            ("a session was not seen", "100", "80", "80", {"before": TUESDAY}),
            ("a price of no session", "100", "80", "80", {"before": None}),
        ],
    )
    def test_what_may_be_a_move_is_no_small_split(
        self, why: str, ended: str, close: str, price: str, changes: dict[str, int | None]
    ) -> None:
        _, said = self.small_split(ended, close, price, **changes)
        assert not any("split" in one for one in said), why

    def test_a_price_is_of_a_close_within_a_minute_and_after_the_one_of_the_session_before(self) -> None:
        calendar = sessions("2026-11-23", "2026-11-24", "2026-11-27")
        monday, tuesday = self.MONDAY, self.TUESDAY
        found = {
            at: closes_at(calendar, from_iso(at))
            for at in (
                "2026-11-24T14:29:59Z",  # before the open
                "2026-11-24T14:30:00Z",
                "2026-11-24T20:58:00Z",
                "2026-11-24T20:59:30Z",
                "2026-11-24T21:00:00Z",
                "2026-11-24T21:02:00Z",  # after hours
                "2026-11-27T15:00:00Z",  # after a holiday
            )
        }
        assert list(found.values()) == [
            Closes(),
            Closes(None, monday),
            Closes(None, monday),
            Closes(tuesday, monday),
            Closes(tuesday, None),
            Closes(),
            Closes(None, tuesday),
        ]

    def test_a_line_that_was_mended_before_is_of_after_the_split(self) -> None:
        told = self.monitor()
        told.look(self.seen({"A": "100"}, Position("A", D(10), D(100)), close="100", closes=Closes(self.MONDAY)), NOW)
        mended = Position("A", D(15), D(67))
        after = self.seen({"A": "67"}, mended, close="66.67", day="2026-11-24", closes=Closes(None, self.MONDAY))
        assert not any("split" in one for one in told.look(after, NOW + DAY))

    def test_after_a_split_a_line_that_was_changed_is_judged_again(self) -> None:
        told, held = self.monitor(), Position("A", D(10), D(400), None, (2,))
        told.look(self.seen({"A": "404"}, held, close="400"), NOW)
        after = self.seen({"A": "90"}, held, close="101", day="2026-11-24")
        assert any("split" in one for one in told.look(after, NOW + DAY))
        mended = Position("A", D(40), D(100), None, (2,))
        said = told.look(self.seen({"A": "90"}, mended, close="101", day="2026-11-24"), NOW + DAY + HOUR)
        assert any("A at 90 is past its stop of 95" in one for one in said)

    def test_a_day_is_one_of_the_exchange_and_an_old_price_come_back_says_nothing_of_it(self) -> None:
        told, held = self.monitor(), Position("A", D(1), D(1))

        def moves(as_of: str, day: str) -> int:
            price = Price(D(104), D(100), "AUD", as_of, "x")
            seen = Seen(Portfolio({"A": held}), {"A": price}, {}, None, {"A": day})
            return sum("has moved" in one for one in told.look(seen, NOW))

        assert moves("2026-11-23T23:30:00Z", "2026-11-24") == 1
        assert moves("2026-11-24T00:30:00Z", "2026-11-24") == 0
        assert moves("2026-11-23T00:30:00Z", "2026-11-23") == 0

    def test_what_is_left_out_for_its_currency_is_said(self) -> None:
        held = [Position(name, D(1), D(100)) for name in "ABC"]
        money = {"A": "USD", "B": "USD", "C": "EUR"}
        prices = {name: Price(D(100), None, unit, "2026-11-23T15:00:00Z", "x") for name, unit in money.items()}
        days = dict.fromkeys(prices, "2026-11-23")
        said = self.monitor().look(Seen(Portfolio({p.symbol: p for p in held}), prices, {}, None, days), NOW)
        assert said[0].endswith("(very high: 100.00 of 200.00 USD; without C, in another currency)")

    def test_a_stop_above_what_was_paid_tells_of_a_gain(self) -> None:
        said = self.monitor().look(self.seen({"A": "119"}, Position("A", D(1), D(100), D(120))), NOW)
        assert "A at 119 is past its stop of 120: the position bought at 100 has gained 19.0 %" in self.stops(said)[0]

    def test_old_quotes_are_told_once_and_nothing_is_judged_by_them(self) -> None:
        told, held = self.monitor(), Position("A", D(1), D(100))
        stale = self.seen({}, held, stale={"A": "2026-11-20T15:00:00Z"})
        [said] = told.look(stale, NOW)
        assert "no current quote of A (2026-11-20T15:00:00Z)" in said
        assert told.look(stale, NOW + HOUR) == []
        told.look(self.seen({"A": "100"}, held), NOW + 2 * HOUR)
        assert len(told.look(stale, NOW + 3 * HOUR)) == 1

    def doubtful(self, price: str, of: str = "15:01", symbol: str = "A") -> dict[str, DoubtfulPrice]:
        """Beside a price of 90 at 15:00."""
        said = Price(D(price), None, "USD", f"2026-11-23T{of}:00Z", "finnhub")
        known = Price(D(90), None, "USD", "2026-11-23T15:00:00Z", "file")
        return {symbol: DoubtfulPrice(said, known, "its price leapt", f"scheduler-service release {symbol} quotes")}

    def test_a_fall_that_is_doubtful_is_told_once_with_both_prices_and_is_no_breach(self) -> None:
        told, held = self.monitor(), Position("A", D(1), D(90), None, (2,))
        calm = self.seen({"A": "90"}, held)
        told.look(calm, NOW)
        [notice] = told.notices(replace(calm, doubtful=self.doubtful("40")), NOW + MINUTE)
        assert (notice.event, notice.symbol, notice.is_alert) == ("risk.price_doubtful", "A", True)
        assert notice.message == (
            "A is said to be at 40 (finnhub, 2026-11-23T15:01:00Z), and was 90 (2026-11-23T15:00:00Z): that is "
            "doubtful, and its risk is not judged by it; if it is right, accept it: scheduler-service release A quotes"
        )
        assert (notice.facts["price"], notice.facts["price_before"]) == ("40", "90")
        assert told.look(replace(calm, doubtful=self.doubtful("39", "15:02")), NOW + 2 * MINUTE) == []
        assert told.look(calm, NOW + 3 * MINUTE) == []
        [again] = told.look(replace(calm, doubtful=self.doubtful("41", "15:04")), NOW + 4 * MINUTE)
        assert "is said to be at 41" in again

    def test_of_what_is_not_held_no_doubt_is_told_and_a_price_of_before_is_none_of_now(self) -> None:
        calm = self.seen({"A": "90"}, Position("A", D(1), D(90)))
        told = self.monitor()
        told.look(calm, NOW)
        assert told.look(replace(calm, doubtful=self.doubtful("40", symbol="B")), NOW) == []
        assert [self.doubtful("40", at)["A"].is_newer for at in ("14:59", "15:00", "15:01")] == [False, True, True]

    def test_what_is_told_of_other_quotes_or_another_mistake_is_known_by_its_key_as_something_else(self) -> None:
        """By what stands before the time a channel knows a repetition."""

        def about(seen: Seen) -> str:
            [notice] = self.monitor().notices(seen, NOW)
            return notice.key.partition("@")[0]

        held = [Position(name, D(1), D(100)) for name in ("A", "B", "C")]
        old = [{"A": "never"}, {"A": "never", "B": "never"}, {"A": "never", "C": "never"}]
        assert len({about(self.seen({}, *held, stale=stale)) for stale in old}) == 3
        assert about(self.seen({}, *held, stale={"A": "never"})) == about(
            self.seen({}, *held, stale={"A": "2026-11-20"})
        )
        wrong = ["p.csv cannot be read: Permission denied", "p.csv cannot be used: it has no header"]
        assert len({about(Seen(Portfolio({}), {}, {}, said)) for said in wrong}) == 2

    def test_the_whole_is_not_judged_while_a_part_is_not_known(self) -> None:
        held = [Position("A", D(1), D(100)), Position("B", D(1), D(100))]
        said = self.monitor().look(self.seen({"A": "99"}, *held, stale={"B": "never"}), NOW)
        assert [one.partition(":")[0] for one in said] == ["risk.quotes_stale"]

    def test_a_slip_in_a_line_repeats_nothing_once_it_is_mended_and_what_was_sold_is_forgotten(self) -> None:
        told, held = self.monitor(), Position("A", D(10), D(100))
        slip = Seen(Portfolio({}, ("line 2: no",), 1), {}, {})
        assert len(self.stops(told.look(self.seen({"A": "94"}, held), NOW))) == 1
        told.look(slip, NOW + HOUR)
        assert self.stops(told.look(self.seen({"A": "94"}, held), NOW + 2 * HOUR)) == []
        told.look(Seen(Portfolio({}), {}, {}), NOW + 3 * HOUR)
        assert len(self.stops(told.look(self.seen({"A": "94"}, held), NOW + 4 * HOUR))) == 1

    def test_bad_lines_and_a_missing_file_are_told_once(self) -> None:
        told = self.monitor()
        bad = Seen(Portfolio({}, ("line 2: no",), 3), {}, {})
        [said] = told.look(bad, NOW)
        assert said == "risk.portfolio: p.csv: 3 lines are not used: line 2: no; and 2 more"
        assert told.look(bad, NOW + HOUR) == []
        gone = Seen(Portfolio({}), {}, {}, "p.csv cannot be read: No such file or directory")
        assert len(told.look(gone, NOW + 2 * HOUR)) == 1
        assert told.look(gone, NOW + 3 * HOUR) == []

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b"{}",
            b'{"price": 0, "as_of": "2026-11-23T15:00:00Z", "provenance": {"source": "x"}}',
            b'{"price": "NaN", "as_of": "2026-11-23T15:00:00Z", "provenance": {"source": "x"}}',
            b'{"price": 1, "as_of": "soon", "provenance": {"source": "x"}}',
            b'{"price": "1e400", "as_of": "2026-11-23T15:00:00Z", "provenance": {"source": "x"}}',
        ],
    )
    def test_what_is_no_price_is_none(self, data: bytes) -> None:
        assert read_price(data) is None

    @pytest.mark.parametrize("close", ["NaN", 0, -1, "1e400", "-Infinity"])
    def test_a_previous_close_that_is_none_is_none(self, close: object) -> None:
        said = {"price": 1, "previous_close": close, "as_of": "2026-11-23T15:00:00Z", "provenance": {"source": "x"}}
        price = read_price(orjson.dumps(said))
        assert price is not None
        assert price.previous_close is None


class TestHealth:
    def monitor(self) -> Told:
        async def look() -> Vitals:
            raise AssertionError

        return Told(HealthMonitor(look, MINUTE), counts_looks=True)

    def test_a_flip_is_told_when_it_was_seen_twice_and_reminded_of(self) -> None:
        told, bad, good = self.monitor(), Vitals(troubles=("the disk is full",)), Vitals()

        def at(seen: Vitals, minute: int) -> list[str]:
            return told.look(seen, NOW + minute * MINUTE)

        assert at(good, 0) == at(bad, 1) == at(good, 2) == at(bad, 3) == []
        assert at(bad, 4) == ["health.changed: the service is degraded: the disk is full"]
        assert at(bad, 5) == at(bad, 300) == []
        [said] = at(bad, 365)
        assert said.startswith("health.changed: still degraded since 2026-11-23T15:04:00Z: the disk is full")
        assert at(good, 366) == []
        assert at(good, 367) == ["health.changed: the service is healthy again; it was degraded"]
        assert at(good, 368) == []

    def test_before_the_first_look_nothing_is_claimed(self) -> None:
        async def look() -> Vitals:
            return Vitals()

        monitor = HealthMonitor(look, MINUTE)
        assert monitor.vitals is None
        asyncio.run(monitor.observe())
        assert monitor.vitals == Vitals()

    def test_what_ends_the_service_is_told_at_the_first_look(self) -> None:
        [said] = self.monitor().look(Vitals(("the task 'sweep' has died",), is_over=True), NOW)
        assert said == "health.changed: the service is unhealthy: the task 'sweep' has died"

    def test_a_clock_that_was_ahead_keeps_no_reminder(self) -> None:
        told, bad = self.monitor(), Vitals(troubles=("x",))
        told.look(bad, NOW)
        told.look(bad, NOW + MINUTE)
        assert told.look(bad, NOW - HOUR)[0].startswith("health.changed: still degraded")
        assert told.look(bad, NOW + HOUR) == []

    def test_faults_are_worse_than_troubles(self) -> None:
        told = self.monitor()
        worst = Vitals(("a task died",), ("slow",))
        told.look(worst, NOW)
        assert told.look(worst, NOW + MINUTE) == ["health.changed: the service is unhealthy: a task died; slow"]

    async def test_the_ping_is_sent_only_while_all_is_well_and_fresh(self) -> None:
        pings: list[int] = []
        seen = [Vitals(), Vitals(is_fresh=False), Vitals(troubles=("x",)), Vitals(faults=("y",)), Vitals()]

        async def look() -> Vitals:
            return seen.pop(0)

        async def ping() -> None:
            pings.append(len(seen))

        monitor = HealthMonitor(look, DAY, ping)
        for _ in range(5):
            await monitor.observe()
        assert pings == [4, 0]
