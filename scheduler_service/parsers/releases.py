"""Announcements of results (form 8-K, item 2.02): which tell a quarter's results, and when the next ones are expected.

The item is also used for deliveries, monthly sales, preliminary figures and corrections. A quarter's results come after
its end and, at the latest, with its report; where several announcements do, the results are the largest of them.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo

from scheduler_service.parsers.statements import INCOME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scheduler_service.parsers.submissions import Filing, Submissions
    from scheduler_service.parsers.xbrl import CompanyFacts

About: TypeAlias = Literal["results", "amendment", "other", "unknown"]
Hour: TypeAlias = Literal["bmo", "amc", "unknown"]

NEW_YORK = ZoneInfo("America/New_York")
OPEN, CLOSE = dt.time(9, 30), dt.time(16)
AFTER_REPORT = dt.timedelta(days=5)
"""How long after the report itself its announcement may still come."""
LONGEST_WAIT = dt.timedelta(days=150)
"""From the end of a year to its results, at the latest."""
OVERDUE = dt.timedelta(days=14)
"""So long a report may be late before the one after it is the next."""
YEARS_COMPARED = 4
"""So far back the same quarter is looked for; of these years the newest tells."""
QUARTERS_COMPARED = 4
SAME_QUARTER = 20
"""Days by which a quarter's end moves from year to year at most."""
_PERIODIC = frozenset({"10-K", "10-Q", "10-KT", "10-QT"})
_ANNUAL_ABROAD = frozenset({"20-F", "40-F"})
_MOST_STEPS = 40
_RESULTS = re.compile(r"\b(?:results|earnings)\b", re.IGNORECASE)
_OF_A_PERIOD = re.compile(
    r"\b(?:(?:first|second|third|fourth|1st|2nd|3rd|4th)[ -]quarter|quarterly|q[1-4]|[1-4]q\d{0,4}|half[ -]year(?:ly)?|"
    r"interim|full[ -]year|annual|nine[ -]months?|six[ -]months?)\b",
    re.IGNORECASE,
)
_OF_A_YEAR = re.compile(r"\b(?:fourth|4th|q4|4q\d{0,4}|full[ -]year|annual)\b", re.IGNORECASE)
_NOT_THEMSELVES = re.compile(
    r"\b(?:dates?|notice|schedul\w*|webcast|conference|calls?|invit\w*|presentations?|slides|transcript|monthly|"
    r"preliminary|to (?:report|announce|release)|meeting|agm|poll|vote|voting|tender|offer)\b",
    re.IGNORECASE,
)
_YEAR = dt.timedelta(days=364)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A filing under item 2.02, and which period's results it tells, where that is known."""

    filing: Filing
    about: About
    period_end: dt.date | None = None

    @property
    def time(self) -> Hour:
        return session_of(self.filing.accepted)


@dataclass(frozen=True, slots=True)
class Expected:
    """When the next results are expected, as in the years before."""

    date: dt.date
    time: Hour


def announcements(submissions: Submissions) -> tuple[Announcement, ...]:
    """All of them, newest first."""
    reported = _reported(submissions.filings)
    originals = [f for f in submissions.releases if f.form == f.base_form]
    told = {f.accession: end for end, filed in reported.items() if (f := _results(originals, end, filed)) is not None}
    told |= _pending(originals, reported, told)
    days = {f.accession: f.filed for f in originals}
    spans = [(end, max(days[accession], reported.get(end, end))) for accession, end in told.items()]
    return tuple(_announcement(f, told, spans) for f in submissions.releases)


def results_with_figures(facts: CompanyFacts, submissions: Submissions) -> Iterator[Announcement]:
    """Of form 6-K, those that brought figures of a period: its results."""
    ends: dict[str, dt.date] = {}
    for fact in (fact for concept in INCOME for tag in facts[concept].tags for fact in tag.values() if fact.start):
        for filing in fact.filings:
            ends[filing.accession] = max(fact.end, ends.get(filing.accession, dt.date.min))
    for said in submissions.filings:
        end = ends.get(said.accession)
        if said.form == "6-K" and end is not None and end < said.filed <= end + LONGEST_WAIT:
            yield Announcement(said, "results", end)


def results_by_title(submissions: Submissions) -> Iterator[Announcement]:
    """Of form 6-K, which has no items, those whose title says that they are a period's results; not of which."""
    for filing in submissions.filings:
        title = filing.description
        told = _RESULTS.search(title) and _OF_A_PERIOD.search(title) and not _NOT_THEMSELVES.search(title)
        if filing.form == "6-K" and told:
            yield Announcement(filing, "results")


def one_each(found: Iterable[Announcement]) -> tuple[Announcement, ...]:
    """The first of each filing, newest first."""
    firsts: dict[str, Announcement] = {}
    for announcement in found:
        firsts.setdefault(announcement.filing.accession, announcement)
    return tuple(sorted(firsts.values(), key=lambda a: a.filing.filed, reverse=True))


def expected_next(
    found: Sequence[Announcement], submissions: Submissions, today: dt.date, reported: Iterable[dt.date] = ()
) -> Expected | None:
    """The wait of a year ago, on the usual weekday; None without a year of history. ``reported``: the ends of periods
    whose figures are known by now, whatever the list of filings knows of them.

    Where a foreign company tells a year's results in no way that is certain, its annual report is what is expected;
    but not where it tells results in between, for then they come first, and nobody knows of which period.
    """
    abroad = _reported(submissions.filings, _ANNUAL_ABROAD)
    if any(map(_is_of_a_part, found)):
        abroad = {}
    waits = abroad | {a.period_end: a.filing.filed for a in found if a.period_end is not None}
    ends = sorted({*waits, *_reported(submissions.filings), *(reported if waits else ())})
    for _ in range(_MOST_STEPS):
        end = _next_end(ends)
        day = None if end is None else _usual_day(end, waits)
        if end is None or day is None:
            return None
        if day >= today - OVERDUE:
            return Expected(day, _usual_hour(found))
        ends.append(end)
    return None


def _is_of_a_part(told: Announcement) -> bool:
    """Whether its title says that it tells results of a part of a year, and nothing says of which."""
    is_vague = told.about == "results" and told.period_end is None
    return is_vague and _OF_A_YEAR.search(told.filing.description) is None


def session_of(accepted: dt.datetime | None) -> Hour:
    """Before the market opens or after it closes, where that holds whether EDGAR gave the time in UTC or in New York's.

    It calls both UTC, even for filings of one company.
    """
    if accepted is None:
        return "unknown"
    in_new_york = accepted.replace(tzinfo=dt.UTC).astimezone(NEW_YORK)
    readings = {_side(accepted.time()), _side(in_new_york.time())}
    return readings.pop() if len(readings) == 1 else "unknown"


def _side(time: dt.time) -> Hour:
    return "bmo" if time < OPEN else "amc" if time >= CLOSE else "unknown"


def _reported(filings: Sequence[Filing], forms: frozenset[str] = _PERIODIC) -> dict[dt.date, dt.date]:
    """End of each period to the day its report was first filed."""
    reported: dict[dt.date, dt.date] = {}
    for filing in sorted(filings, key=lambda f: f.filed):
        if filing.base_form in forms and filing.period is not None and filing.period < filing.filed:
            reported.setdefault(filing.period, filing.filed)
    return reported


def _results(originals: Sequence[Filing], end: dt.date, filed: dt.date) -> Filing | None:
    last = min(filed + AFTER_REPORT, end + LONGEST_WAIT)
    return max((f for f in originals if end < f.filed <= last), key=lambda f: (f.size, f.filed), default=None)


def _pending(
    originals: Sequence[Filing], reported: Mapping[dt.date, dt.date], told: Mapping[str, dt.date]
) -> dict[str, dt.date]:
    """Results told since the newest report: of the period after it, and as large as results usually are."""
    end = _next_end(sorted(reported))
    usual = [f for f in originals if f.accession in told]
    if end is None or not usual:
        return {}
    newest = max(reported.values())
    largest = _results([f for f in originals if f.filed > newest and f.accession not in told], end, dt.date.max - _YEAR)
    if largest is None:
        return {}
    wait = median((f.filed - told[f.accession]).days for f in usual)
    like_results = 2 * largest.size >= median(f.size for f in usual) and 2 * (largest.filed - end).days >= wait
    return {largest.accession: end} if like_results else {}


def _announcement(
    filing: Filing, told: Mapping[str, dt.date], spans: Sequence[tuple[dt.date, dt.date]]
) -> Announcement:
    """``spans``: from each period's end until all of it was told."""
    if filing.form != filing.base_form:
        return Announcement(filing, "amendment")
    if filing.accession in told:
        return Announcement(filing, "results", told[filing.accession])
    beside_results = any(end < filing.filed <= until for end, until in spans)
    return Announcement(filing, "other" if beside_results else "unknown")


def _next_end(ends: Sequence[dt.date]) -> dt.date | None:
    """The end of the period after the last of these, as long as it was a year ago."""
    if not ends:
        return None
    last = ends[-1]
    before = next((i for i, end in enumerate(ends[:-1]) if _years_apart(end, last) == 1), None)
    if before is None:
        return None
    ended, following = ends[before], ends[before + 1]
    if all(_ends_month(day) for day in (last, ended, following)):
        months = (following.year - ended.year) * 12 + following.month - ended.month
        year, month = divmod(last.year * 12 + last.month - 1 + months, 12)
        return dt.date(year, month + 1, calendar.monthrange(year, month + 1)[1])
    return last + (following - ended)


def _ends_month(day: dt.date) -> bool:
    return (day + dt.timedelta(days=1)).day == 1


def _years_apart(earlier: dt.date, later: dt.date) -> int | None:
    """How many years, where both are of one place in the year."""
    years, rest = divmod((later - earlier).days + SAME_QUARTER, 365)
    return years if rest <= 2 * SAME_QUARTER else None


def _usual_day(end: dt.date, told_on: Mapping[dt.date, dt.date]) -> dt.date | None:
    alike = [ended for ended in told_on if (_years_apart(ended, end) or 0) in range(1, YEARS_COMPARED + 1)]
    if not alike:
        return None
    last = max(alike)
    day = end + (told_on[last] - last)
    newest_first = sorted(told_on.values(), reverse=True)
    weekdays = Counter(told.weekday() for told in newest_first[:QUARTERS_COMPARED])
    shift = (weekdays.most_common(1)[0][0] - day.weekday() + 3) % 7 - 3
    return day + dt.timedelta(days=shift)


def _usual_hour(found: Sequence[Announcement]) -> Hour:
    hours = {a.time for a in [a for a in found if a.about == "results"][:QUARTERS_COMPARED]} - {"unknown"}
    return hours.pop() if len(hours) == 1 else "unknown"
