"""A fictional company's invented quarters, expanded to the filings and facts a real one would have filed.

As in reality: a 10-Q reports its quarter, the year to date and the same of a year ago; the 10-K reports years only, so
that a fourth quarter never stands alone; cash flows run from the year's start; balances come with those of the last
year's end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from scheduler_service.sandbox.company import Company, Fact, Filing, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUMMED = ("revenue", "cost_of_revenue", "operating_income", "net_income")
AVERAGED = ("shares_basic", "shares_diluted")
CASH_FLOWS = ("operating_cash_flow", "capital_expenditure")
BALANCES = ("cash", "debt_current", "debt_noncurrent", "equity", "assets")

RESULTS_AND_EXHIBITS = "2.02,9.01"
SHAREHOLDERS_VOTED = "5.07"


@dataclass(frozen=True, slots=True)
class Quarter:
    """One invented quarter: ``figures`` by name (``SUMMED``, ``AVERAGED``, ``CASH_FLOWS``, ``BALANCES``)."""

    year: int
    quarter: int
    start: str
    end: str
    figures: Mapping[str, int]


def expand(profile: Profile, tags: Mapping[str, str], quarters: Sequence[Quarter], sooner: int = 0) -> Company:
    """The company those quarters make; a figure without a tag is one this company does not report. ``sooner``: by how
    many days it is quicker with its results than a slow one.
    """
    book = {(q.year, q.quarter): q for q in quarters}
    filings = _numbered(profile, [filing for q in quarters for filing in _filings(profile, q, sooner)])
    reports = {filing.report_date: filing.accession for filing in filings if filing.fp}
    facts = [
        Fact(tags[name], _unit(name), start, end, value, reports[q.end])
        for q in quarters
        for name, start, end, value in _reported(book, q)
        if name in tags
    ]
    return Company(profile, filings, tuple(facts))


def _filings(profile: Profile, q: Quarter, sooner: int) -> Iterator[Filing]:
    """The results' 8-K after a close, the report on the next working day's morning, and after a second quarter the 8-K
    on the shareholders.
    """
    annual = q.quarter == 4
    form, fp = ("10-K", "FY") if annual else ("10-Q", f"Q{q.quarter}")
    released = _working_day(date.fromisoformat(q.end) + timedelta(days=(50 if annual else 32) - sooner))
    filed = _working_day(released + timedelta(days=1))
    yield _filing(profile, "8-K", released, released, items=RESULTS_AND_EXHIBITS)
    report = _filing(profile, form, filed, date.fromisoformat(q.end), at="11:05")
    yield replace(report, fy=q.year, fp=fp)
    if q.quarter == 2:
        met = _working_day(filed + timedelta(days=21))
        yield _filing(profile, "8-K", _working_day(met + timedelta(days=2)), met, items=SHAREHOLDERS_VOTED)


def _filing(profile: Profile, form: str, filed: date, about: date, items: str = "", at: str = "21:05") -> Filing:
    name = f"{profile.symbol.lower()}-{about:%Y%m%d}.htm"
    accepted = f"{filed.isoformat()}T{at}:00.000Z"
    return Filing("", form, filed.isoformat(), about.isoformat(), accepted, items, name, None, None)


def _working_day(day: date) -> date:
    days_off = 7 - day.weekday()
    return day + timedelta(days=days_off if days_off <= 2 else 0)


def _numbered(profile: Profile, filings: Sequence[Filing]) -> tuple[Filing, ...]:
    """In the order of their filing, each with its accession number: filer, year, running number."""
    in_year: Counter[str] = Counter()
    numbered = []
    for filing in sorted(filings, key=lambda f: f.filed):
        year = filing.filed[2:4]
        in_year[year] += 1
        numbered.append(replace(filing, accession=f"{profile.cik:010d}-{year}-{in_year[year]:06d}"))
    return tuple(numbered)


def _reported(
    book: Mapping[tuple[int, int], Quarter], q: Quarter
) -> Iterator[tuple[str, str | None, str, int | float]]:
    """Name, start, end and value of everything the quarter's report says."""
    annual = q.quarter == 4
    for years_back in range(3 if annual else 2):
        to_date = [book[key] for n in range(1, q.quarter + 1) if (key := (q.year - years_back, n)) in book]
        if len(to_date) < q.quarter:
            continue
        if not annual and q.quarter > 1:
            yield from _flows(to_date[-1:])
        yield from _flows(to_date)
        for name in CASH_FLOWS:
            yield name, to_date[0].start, to_date[-1].end, sum(one.figures[name] for one in to_date)
    for at in filter(None, (book.get((q.year - 1, 4)), q)):
        for name in BALANCES:
            yield name, None, at.end, at.figures[name]


def _flows(span: Sequence[Quarter]) -> Iterator[tuple[str, str, str, int | float]]:
    """What was earned over consecutive quarters; shares are averaged, and earnings per share follow from both."""
    said: dict[str, int | float] = {name: sum(q.figures[name] for q in span) for name in SUMMED}
    said |= {name: round(sum(q.figures[name] for q in span) / len(span)) for name in AVERAGED}
    said["gross_profit"] = said["revenue"] - said["cost_of_revenue"]
    said["eps_basic"] = round(said["net_income"] / said["shares_basic"], 2)
    said["eps_diluted"] = round(said["net_income"] / said["shares_diluted"], 2)
    for name, value in said.items():
        yield name, span[0].start, span[-1].end, value


def _unit(name: str) -> str:
    if name.startswith("eps_"):
        return "USD/shares"
    return "shares" if name.startswith("shares_") else "USD"
