"""Figures by period: what a company reported, or what follows from it by subtraction and addition alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

QUARTER_DAYS = range(80, 101)
YEAR_DAYS = range(350, 381)
FIRST_QUARTER_DAYS = range(105, 121)
"""Of grocers whose fiscal year begins with a quarter of 16 weeks; only where it does follow a fiscal year."""
LAST_QUARTER_DAYS = range(80, 126)
"""What a year leaves for its last quarter; retailers with quarters of 12 weeks have one of 16 or 17."""
_DAY = timedelta(days=1)
_RECENT = timedelta(days=800)
_SLIP = timedelta(days=3)
"""By which a filing may miss a quarter's first day."""
_ROUNDING = 1_000
"""A value within a thousandth of another may only round it."""
_CALENDAR_SLACK = 10
"""Days by which two years' halves or three quarters may differ: fiscal years of 52 and 53 weeks."""

Period: TypeAlias = tuple[date | None, date]


@dataclass(frozen=True, slots=True, order=True)
class FiledIn:
    """A filing that carries a figure."""

    filed: date
    accession: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One reported figure, at an instant where it has no start. ``filings`` carry this very value, the oldest first."""

    start: date | None
    end: date
    value: Decimal
    filings: tuple[FiledIn, ...]
    annual: bool = False
    """An annual report carries it: some companies also report the year up to a quarter, no fiscal one."""
    restated: bool = False
    """Filed first with another value, and not only a rounder one."""

    @property
    def days(self) -> int:
        """The length, both ends counted; 0 for an instant."""
        return 0 if self.start is None else (self.end - self.start).days + 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and the facts it was taken or computed from, the leading one first."""

    start: date | None
    end: date
    value: Decimal
    parts: tuple[Fact, ...]
    derived: bool = False

    @staticmethod
    def reported(fact: Fact) -> Figure:
        return Figure(fact.start, fact.end, fact.value, (fact,))


@dataclass(frozen=True, slots=True)
class Unread:
    """Days at which a period may end of which a row says something that cannot be read: nothing is known of them."""

    stretches: tuple[tuple[date, date], ...] = ()
    """Apart from each other, the earliest first."""

    @staticmethod
    def of(stretches: Iterable[tuple[date, date]]) -> Unread:
        """What overlaps becomes one: a hostile body has as many as it has rows."""
        apart: list[tuple[date, date]] = []
        for first, last in sorted(stretches):
            if apart and first <= apart[-1][1]:
                apart[-1] = apart[-1][0], max(last, apart[-1][1])
            else:
                apart.append((first, last))
        return Unread(tuple(apart))

    def __contains__(self, day: date) -> bool:
        before = bisect_right(self.stretches, (day, date.max))
        return before > 0 and day <= self.stretches[before - 1][1]


@dataclass(frozen=True, slots=True)
class Series:
    """One concept over time, in all its tags.

    Companies change tags, so the tag with the newest figure comes first and the others fill what it lacks, period by
    period; where one filing says several of these of a period, the one listed first, for the others may be parts of it.
    Sums and differences stay within a tag where they can: two tags may mean different things.
    """

    quarters: Mapping[date, Figure]
    years: Mapping[date, Figure]
    instants: Mapping[date, Figure]
    tags: tuple[Mapping[Period, Fact], ...]
    unread: Unread = Unread()
    """Also the days with which a contested period ends."""
    ends: tuple[int, ...] = ()
    """Of the periods of which more than nothing is said: ordinals, the earliest first."""

    @staticmethod
    def of(
        tags: Sequence[Mapping[Period, Fact]],
        *,
        additive: bool,
        unread: Unread = Unread(),
        contested: Sequence[Set[Period]] = (),
    ) -> Series:
        """``additive``: money. Where shares are counted or divided by, no period is the difference of two others.

        ``contested``: of each tag the periods of which nobody can tell what it says.
        """
        readable = [{p: fact for p, fact in tag.items() if fact.end not in unread} for tag in tags]
        ordered = sorted((tag for tag in enumerate(readable) if tag[1]), key=lambda tag: _newest(tag[1]), reverse=True)
        doubts = _Doubts.of(contested)
        certain = [(n, {p: f for p, f in tag.items() if (n, p) not in doubts}) for n, tag in ordered]
        certain[1:] = [(n, {p: f for p, f in tag.items() if not doubts.elsewhere(n, f.end)}) for n, tag in certain[1:]]
        quarters, years, instants = _Ends({}, {}), _Ends({}, {}), _Ends({}, {})
        for newer, (listed, tag) in enumerate(certain):
            rank = listed if newer else -1
            facts = sorted(tag.values(), key=lambda f: f.filings[-1], reverse=True)
            remainders = list(_remainders(facts)) if additive else []
            quarters.fill(rank, (Figure.reported(f) for f in _quarters(facts, remainders)))
            quarters.fill(rank, (Figure.reported(f) for f in _long_first_quarters(facts)))
            quarters.fill(rank, (f for f in remainders if (listed, (f.start, f.end)) not in doubts))
            years.fill(rank, (Figure.reported(f) for f in facts if f.days in YEAR_DAYS and f.annual))
            instants.fill(rank, (Figure.reported(f) for f in facts if f.start is None))
        days = Unread.of((*unread.stretches, *((end, end) for end in doubts.ends)))
        by_tag = tuple(tag for _, tag in certain)
        ends = tuple(sorted({f.end.toordinal() for tag in by_tag for f in tag.values() if f.value}))
        return Series(quarters.figures, years.figures, instants.figures, by_tag, days, ends)

    @property
    def newest(self) -> date | None:
        """The end of the newest quarter or year."""
        return max((*self.quarters, *self.years), default=None)

    @property
    def newest_part(self) -> date | None:
        """The end of the newest stretch that is reported and shorter than a year: a half, say."""
        parts = (f.end for tag in self.tags for f in tag.values() if min(QUARTER_DAYS) <= f.days < min(YEAR_DAYS))
        return max(parts, default=None)

    def tells(self, day: date, within: timedelta = timedelta()) -> bool:
        """Whether more than nothing is said of a period, or an instant, that ended around a day."""
        place = bisect_left(self.ends, day.toordinal() - within.days)
        return place < len(self.ends) and self.ends[place] <= day.toordinal() + within.days

    def trailing(self, end: date) -> Figure | None:
        """Twelve months up to ``end``: a year, or a year plus this year's part less last year's, or four quarters.

        None where some of them were restated and others were not: they no longer describe the same business.
        """
        for tag in (*self.tags, self._merged(end)):
            if (whole := _whole(tag, end)) is not None:
                return Figure.reported(whole)
            if (parts := _bridge(tag, end)) is not None:
                part, year, last = parts
                if year.restated != last.restated:
                    return None
                value = year.value + part.value - last.value
                return Figure(last.end + _DAY, end, value, parts, derived=True)
        return self._four_quarters(end)

    def _merged(self, end: date) -> Mapping[Period, Fact]:
        """All tags as one where they say the same of the periods they share; nothing where they do not."""
        merged: dict[Period, Fact] = {}
        shared: list[bool] = []
        for tag in self.tags:
            recent = {p: f for p, f in tag.items() if timedelta() <= end - f.end <= _RECENT}
            shared += [is_rounding(merged[p].value, f.value) for p, f in recent.items() if p in merged]
            merged = recent | merged
        return merged if shared and all(shared) else {}

    def _four_quarters(self, end: date) -> Figure | None:
        chain: list[Figure] = []
        for _ in range(4):
            quarter = self.quarters.get(end)
            if quarter is None or quarter.start is None:
                return None
            chain.append(quarter)
            end = quarter.start - _DAY
        parts = tuple(p for q in chain for p in q.parts)
        if len({p.restated for p in parts}) > 1:
            return None
        if not any(_carries(tag, parts) for tag in (*self.tags, self._merged(chain[0].end))):
            return None
        total = sum((q.value for q in chain), Decimal())
        return Figure(chain[-1].start, chain[0].end, total, parts, derived=True)


def is_rounding(one: Decimal, other: Decimal) -> bool:
    """Whether two values differ by less than a thousandth, as one figure does in millions and in tens of them."""
    return one == other or abs(one - other) * _ROUNDING < max(abs(one), abs(other))


def _carries(tag: Mapping[Period, Fact], parts: Sequence[Fact]) -> bool:
    return all(tag.get((part.start, part.end)) == part for part in parts)


def _quarters(facts: Sequence[Fact], remainders: Sequence[Figure]) -> Iterator[Fact]:
    """Those reported alone. A stretch that begins elsewhere than what is left of a longer one is that of a part of the
    business, since it was bought.
    """
    begins: dict[date, list[date]] = {}
    for left in remainders:
        if left.start is not None:
            begins.setdefault(left.end, []).append(left.start)
    for fact in facts:
        if fact.days in QUARTER_DAYS and fact.start is not None:
            others = begins.get(fact.end, [fact.start])
            if min(abs(fact.start - begin) for begin in others) <= _SLIP:
                yield fact


def _long_first_quarters(facts: Sequence[Fact]) -> Iterator[Fact]:
    year_ends = {f.end for f in facts if f.days in YEAR_DAYS and f.annual}
    for fact in facts:
        if fact.days in FIRST_QUARTER_DAYS and fact.start is not None and fact.start - _DAY in year_ends:
            yield fact


def _newest(tag: Mapping[Period, Fact]) -> date:
    """The newest end of a tag; a lone short stretch (a week before an acquisition) does not make it current. Of a
    balance the newest filing: notes also tell of days behind its own.
    """
    usable = (
        f.filings[-1].filed if f.start is None else f.end
        for f in tag.values()
        if f.start is None or f.days >= min(QUARTER_DAYS)
    )
    return max(usable, default=date.min)


@dataclass(frozen=True, slots=True)
class _Doubts:
    """The contested periods of a concept's tags, each by its place. Of a tag they are those alone; another tag, which
    may mean a part of it, does not stand in for whatever ends with one.
    """

    periods: Set[tuple[int, Period]]
    ends: Mapping[date, Set[int]]

    @staticmethod
    def of(contested: Sequence[Set[Period]]) -> _Doubts:
        ends: dict[date, set[int]] = {}
        for place, periods in enumerate(contested):
            for _, end in periods:
                ends.setdefault(end, set()).add(place)
        return _Doubts({(place, period) for place, periods in enumerate(contested) for period in periods}, ends)

    def __contains__(self, told: tuple[int, Period]) -> bool:
        return told in self.periods

    def elsewhere(self, place: int, end: date) -> bool:
        return not self.ends.get(end, frozenset()) <= {place}


@dataclass(frozen=True, slots=True)
class _Ends:
    """Figures by the end of their period; with where in the list the tag stands that each was taken from, and the
    filings that say it.
    """

    figures: dict[date, Figure]
    said: dict[date, tuple[int, frozenset[FiledIn]]]

    def fill(self, rank: int, figures: Iterable[Figure]) -> None:
        for figure in figures:
            known = self.figures.get(figure.end)
            if known is not None:
                before, filings = self.said[figure.end]
                if rank >= before or known.start != figure.start or filings.isdisjoint(figure.parts[0].filings):
                    continue
            self.figures[figure.end], self.said[figure.end] = figure, (rank, frozenset(figure.parts[0].filings))


def _remainders(facts: Sequence[Fact]) -> Iterator[Figure]:
    """Quarters not reported alone: a stretch less a shorter one with the same start (fourth: year less nine months)."""
    by_start: dict[date, list[Fact]] = {}
    for fact in facts:
        if fact.start is not None:
            by_start.setdefault(fact.start, []).append(fact)
    for same_start in by_start.values():
        of_length = {fact.days: (place, fact) for place, fact in enumerate(same_start)}
        for longer in same_start:
            days = longer.days
            lengths = LAST_QUARTER_DAYS if longer.annual and days in YEAR_DAYS else QUARTER_DAYS
            shorter_ones = (of_length[days - n] for n in lengths if days - n in of_length)
            for _, shorter in sorted(shorter_ones, key=lambda placed: placed[0]):
                # A year restated for a business since sold, less nine months that still hold it, is no quarter.
                if longer.restated == shorter.restated:
                    value = longer.value - shorter.value
                    yield Figure(shorter.end + _DAY, longer.end, value, (longer, shorter), derived=True)


def _whole(tag: Mapping[Period, Fact], end: date) -> Fact | None:
    years = [f for f in tag.values() if f.end == end and f.days in YEAR_DAYS]
    return max(years, key=lambda f: f.filings[-1], default=None)


def _bridge(tag: Mapping[Period, Fact], end: date) -> tuple[Fact, Fact, Fact] | None:
    """This year's part up to ``end``, the year before it, and that year's part of the same length."""
    flows = [f for f in tag.values() if f.start is not None]
    years: dict[date, Fact] = {}
    for fact in flows:
        if fact.days in YEAR_DAYS and fact.annual:
            years.setdefault(fact.end, fact)
    for part in flows:
        if part.end != end or part.start is None or part.days >= min(YEAR_DAYS):
            continue
        year = years.get(part.start - _DAY)
        if year is None:
            continue
        before = [f for f in flows if f.start == year.start and abs(f.days - part.days) <= _CALENDAR_SLACK]
        if before:
            return part, year, max(before, key=lambda f: f.filings[-1])
    return None
