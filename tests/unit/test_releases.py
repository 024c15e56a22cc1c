"""Which announcements tell a quarter's results, when they were made, and when the next are expected."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.parsers.releases import Announcement, announcements, expected_next, session_of
from scheduler_service.parsers.submissions import Submissions, parse_older_filings, parse_submissions
from tests.unit.test_edgar_parsers import RECORDED

TESLA, FANNIE_MAE = 1318605, 310522


def recorded(cik: int, page: str = "") -> bytes:
    path = RECORDED / f"submissions/CIK{cik:010d}{page}.json.gz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not here")
    return gzip.decompress(path.read_bytes())


def filed(*filings: tuple[str, str, str, int]) -> Submissions:
    """Filings as (form, filed, end of period, size); an 8-K is one of results. In any order."""
    columns: dict[str, list[Any]] = {
        "accessionNumber": [f"0000000042-26-{n:06d}" for n in range(len(filings))],
        "form": [form for form, *_ in filings],
        "filingDate": [day for _, day, *_ in filings],
        "reportDate": [end for _, _, end, _ in filings],
        "size": [size for *_, size in filings],
        "items": ["2.02,9.01" if form.startswith("8-K") else "" for form, *_ in filings],
    }
    return parse_submissions(json.dumps({"cik": 42, "filings": {"recent": columns}}).encode())


YEAR_OF_FILINGS = (
    ("10-K", "2025-02-20", "2024-12-31", 9),
    ("8-K", "2025-02-06", "", 900),
    ("10-Q", "2025-05-05", "2025-03-31", 9),
    ("8-K", "2025-05-01", "", 800),
    ("10-Q", "2025-08-05", "2025-06-30", 9),
    ("8-K", "2025-07-31", "", 800),
    ("10-Q", "2025-11-05", "2025-09-30", 9),
    ("8-K", "2025-10-30", "", 800),
    ("10-K", "2026-02-19", "2025-12-31", 9),
    ("8-K", "2026-02-05", "", 900),
)


def told(submissions: Submissions) -> dict[str, tuple[str, str | None]]:
    return {
        f"{a.filing.form} {a.filing.filed}": (a.about, a.period_end.isoformat() if a.period_end else None)
        for a in announcements(submissions)
    }


def test_teslas_deliveries_are_no_results() -> None:
    recent = parse_submissions(recorded(TESLA))
    found = [a for a in announcements(recent) if a.filing.filed >= dt.date(2023, 1, 1)]
    results = [a for a in found if a.about == "results"]
    assert len(results) == 13
    assert {a.filing.filed.month for a in results} == {1, 4, 7, 10}
    assert all(a.filing.filed.day > 15 for a in results)
    assert all(a.filing.filed.day < 6 for a in found if a.about == "other")


@pytest.mark.parametrize("cik", [320193, 1045810, 789019, FANNIE_MAE])
def test_each_recorded_report_has_its_one_announcement(cik: int) -> None:
    found = announcements(parse_submissions(recorded(cik)))
    ends = [a.period_end for a in found if a.about == "results" and a.period_end]
    assert len(ends) == len(set(ends)) >= len(found) - 1
    assert all(85 <= (later - earlier).days <= 100 for later, earlier in pairwise(ends[:20]))


@pytest.mark.parametrize(
    ("cik", "today", "day", "time"),
    [
        (320193, "2026-03-01", "2026-04-30", "unknown"),
        (1045810, "2026-03-01", "2026-05-27", "amc"),
        (789019, "2026-03-01", "2026-04-29", "amc"),
        (TESLA, "2026-03-01", "2026-04-22", "amc"),
        (320193, "2026-11-24", "2027-01-28", "unknown"),
    ],
)
def test_the_next_results_are_expected_as_in_the_years_before(cik: int, today: str, day: str, time: str) -> None:
    submissions = parse_submissions(recorded(cik))
    expected = expected_next(announcements(submissions), submissions, dt.date.fromisoformat(today))
    assert expected is not None
    assert (expected.date.isoformat(), expected.time) == (day, time)


@pytest.mark.parametrize("cik", [320193, 1045810, 789019, TESLA])
def test_the_estimate_would_have_been_right_to_a_week_in_the_years_before(cik: int) -> None:
    whole = parse_submissions(recorded(cik))
    results = [a.filing.filed for a in announcements(whole) if a.about == "results"][:9]
    for actual, before in pairwise(results):
        until = Submissions(whole.cik, whole.name, (), tuple(f for f in whole.filings if f.filed < actual))
        expected = expected_next(announcements(until), until, before + dt.timedelta(days=40))
        assert expected is not None
        assert abs(expected.date - actual) <= dt.timedelta(days=9), (actual, expected)


def test_an_announcement_is_of_the_quarter_before_it() -> None:
    found = told(filed(*YEAR_OF_FILINGS))
    assert found["8-K 2025-05-01"] == ("results", "2025-03-31")
    assert found["8-K 2026-02-05"] == ("results", "2025-12-31")
    assert {about for about, _ in found.values()} == {"results"}


@pytest.mark.parametrize("day", ["2026-01-08", "2026-02-12"], ids=["preliminary", "monthly sales"])
def test_the_largest_announcement_of_a_quarter_tells_the_results(day: str) -> None:
    found = told(filed(("8-K", day, "", 90), *YEAR_OF_FILINGS))
    assert (found[f"8-K {day}"], found["8-K 2026-02-05"]) == (("other", None), ("results", "2025-12-31"))


def test_without_sizes_the_last_announcement_before_the_report_tells_the_results() -> None:
    filings = [(form, day, end, 0) for form, day, end, _ in YEAR_OF_FILINGS]
    found = told(filed(("8-K", "2026-01-08", "", 0), *filings))
    assert (found["8-K 2026-01-08"][0], found["8-K 2026-02-05"][0]) == ("other", "results")


def test_a_correction_tells_no_results() -> None:
    assert told(filed(("8-K/A", "2026-02-09", "", 5000), *YEAR_OF_FILINGS))["8-K/A 2026-02-09"] == ("amendment", None)


def test_results_are_known_before_their_report_is_filed() -> None:
    pending = [("8-K", "2026-04-02", "", 40), ("8-K", "2026-04-30", "", 850)]
    found = told(filed(*pending, *YEAR_OF_FILINGS))
    assert (found["8-K 2026-04-30"], found["8-K 2026-04-02"]) == (("results", "2026-03-31"), ("other", None))
    assert told(filed(pending[0], *YEAR_OF_FILINGS))["8-K 2026-04-02"] == ("unknown", None)


def test_an_announcement_whose_report_is_missing_is_not_said_to_be_something_else() -> None:
    found = told(filed(*(f for f in YEAR_OF_FILINGS if f[1] != "2025-08-05")))
    assert found["8-K 2025-07-31"] == ("unknown", None)
    assert found["8-K 2025-10-30"] == ("results", "2025-09-30")


def test_nothing_is_known_of_the_announcements_of_a_company_without_reports() -> None:
    submissions = filed(("8-K", "2026-02-05", "", 900))
    assert told(submissions) == {"8-K 2026-02-05": ("unknown", None)}
    assert expected_next(announcements(submissions), submissions, dt.date(2026, 3, 1)) is None


@pytest.mark.parametrize(
    ("today", "expected"),
    [("2026-03-01", "2026-04-30"), ("2026-05-10", "2026-04-30"), ("2026-05-20", "2026-07-30")],
    ids=["ahead", "a few days late", "missed"],
)
def test_a_report_that_is_late_stays_the_next_for_a_while(today: str, expected: str) -> None:
    submissions = filed(*YEAR_OF_FILINGS)
    found = expected_next(announcements(submissions), submissions, dt.date.fromisoformat(today))
    assert found is not None
    assert found.date.isoformat() == expected


def test_the_annual_report_of_a_foreign_company_is_expected_as_a_year_ago() -> None:
    reports = [(form, f"{year}-03-{day}", f"{year - 1}-12-31", 9) for form, year, day in FOREIGN]
    submissions = filed(*reports, ("6-K", "2026-02-20", "", 9))
    expected = expected_next((), submissions, dt.date(2026, 4, 1))
    assert expected is not None
    assert (expected.date.isoformat(), expected.time) == ("2027-03-05", "unknown")
    assert expected_next((), filed(*reports[:1]), dt.date(2026, 4, 1)) is None
    assert expected_next((), filed(("6-K", "2026-02-20", "", 9)), dt.date(2026, 4, 1)) is None


def test_no_annual_report_is_expected_where_results_come_in_between_and_nobody_says_of_which_period() -> None:
    reports = [(form, f"{year}-03-{day}", f"{year - 1}-12-31", 9) for form, year, day in FOREIGN]
    submissions = filed(*reports)

    def told_abroad(title: str, day: str) -> Announcement:
        (filing,) = filed(("6-K", day, "", 9)).filings
        return Announcement(replace(filing, description=title), "results")

    interim = told_abroad("First Quarter 2025 Results", "2025-05-10")
    yearly = told_abroad("Full-year results", "2026-02-10")
    assert expected_next([interim, yearly], submissions, dt.date(2026, 4, 1)) is None
    assert expected_next([yearly], submissions, dt.date(2026, 4, 1)) is not None


def test_no_report_is_expected_of_a_period_whose_figures_are_known() -> None:
    submissions = filed(*YEAR_OF_FILINGS)
    today = dt.date(2026, 5, 10)
    found = expected_next(announcements(submissions), submissions, today, [dt.date(2026, 3, 31)])
    assert found is not None
    assert found.date.isoformat() == "2026-07-30", "that of the quarter to March is there"


FOREIGN = (("20-F", 2024, 15), ("20-F", 2025, "07"), ("20-F", 2026, "06"))


@pytest.mark.parametrize(
    ("accepted", "session"),
    [
        ("2026-01-28T21:04:38", "amc"),  # 16:04 in New York, or 21:04
        ("2026-01-29T16:30:33", "unknown"),  # 11:30 in New York, or 16:30
        ("2026-01-28T20:30:00", "unknown"),  # 15:30, or 20:30
        ("2025-07-30T20:08:53", "amc"),  # 16:08 in summer
        ("2026-02-11T12:13:00", "unknown"),  # 07:13, or 12:13
        ("2026-02-11T06:45:00", "bmo"),
        ("2026-02-11T02:45:00", "unknown"),  # the evening before, or 02:45
        ("2026-02-11T14:00:00", "unknown"),
    ],
)
def test_an_hour_counts_only_where_both_readings_of_it_agree(accepted: str, session: str) -> None:
    assert session_of(dt.datetime.fromisoformat(accepted)) == session


def test_no_hour_is_no_session() -> None:
    assert session_of(None) == "unknown"


def test_older_filings_are_on_pages() -> None:
    recent = parse_submissions(recorded(TESLA))
    (page,) = recent.older
    assert (page.name, page.filings, page.until) == ("CIK0001318605-submissions-001.json", 720, dt.date(2018, 2, 11))
    assert recent.pages_back_to(dt.date(2017, 1, 1)) == (page,)
    assert recent.pages_back_to(dt.date(2020, 1, 1)) == ()
    whole = recent.with_older(parse_older_filings(recorded(TESLA, "-submissions-001")))
    assert len(whole.releases) == 111
    assert whole.filings[: len(recent.filings)] == recent.filings
    assert whole.with_older(whole.filings[-900:]) == whole


def test_the_pages_of_a_bank_are_read_only_as_far_back_as_needed() -> None:
    fannie = parse_submissions(recorded(FANNIE_MAE))
    assert [page.until.year for page in fannie.pages_back_to(dt.date(2021, 1, 1))] == [2024]
    assert len(fannie.pages_back_to(dt.date(2014, 1, 1))) == 3


@pytest.mark.parametrize(
    "page",
    [
        {"name": "../../etc/passwd", "filingTo": "2020-01-01"},
        {"name": "CIK0000000043-submissions-001.json", "filingTo": "2020-01-01"},
        {"name": "CIK0000000042-submissions-001.json", "filingTo": "yesterday"},
        None,
    ],
)
def test_it_follows_no_name_that_is_not_a_page_of_the_company(page: object) -> None:
    columns: dict[str, list[Any]] = {"accessionNumber": [], "filingDate": [], "form": []}
    body = {"cik": 42, "filings": {"recent": columns, "files": [page]}}
    assert parse_submissions(json.dumps(body).encode()).older == ()


def test_a_page_that_makes_no_rows_is_refused() -> None:
    with pytest.raises(ParseError):
        parse_older_filings(b'{"form": []}')


@given(
    filings=st.lists(
        st.tuples(
            st.sampled_from(["8-K", "8-K/A", "10-Q", "10-K", "10-KT", "20-F"]),
            st.dates(dt.date(1990, 1, 1), dt.date(2190, 1, 1)).map(str),
            st.dates(dt.date(1990, 1, 1), dt.date(2190, 1, 1)).map(str) | st.just(""),
            st.integers(-5, 10**9),
        ),
        max_size=25,
    ),
    today=st.dates(dt.date(1990, 1, 1), dt.date(2190, 1, 1)),
)
def test_whatever_was_filed_each_announcement_is_judged_and_each_period_told_once(
    filings: list[tuple[str, str, str, int]], today: dt.date
) -> None:
    submissions = filed(*filings)
    found = announcements(submissions)
    assert [a.filing for a in found] == list(submissions.releases)
    assert all((a.about == "results") == (a.period_end is not None) for a in found)
    assert all(a.period_end < a.filing.filed for a in found if a.period_end)
    expected_next(found, submissions, today)
