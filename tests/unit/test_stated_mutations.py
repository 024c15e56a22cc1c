"""Answers with figures, one thing in them changed: never a wrong number, only fewer. Which numbers are wrong is judged
by the table they were made from, not by what reads them. All answers are synthetic.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Reason
from scheduler_service.parsers.earnings import EarningsData
from scheduler_service.parsers.fundamental_analysis import FundamentalsData
from scheduler_service.processors.base import Processor
from scheduler_service.processors.earnings_processor import EarningsProcessor
from scheduler_service.processors.fundamental_analyzer import FundamentalAnalyzer
from tests import model_support as model

Read = EarningsData | FundamentalsData
Change = Callable[[dict[str, Any], str], Iterator[Any]]
WHOLE = {"earnings": model.earnings(model.rows()), "fundamentals": model.fundamentals(model.metrics())}
LISTS = {"earnings": "reports", "fundamentals": "metrics"}
READERS: dict[str, Callable[[bytes], Read]] = {
    "earnings": model.earnings_document,
    "fundamentals": model.fundamentals_document,
}
STATED: dict[str, Callable[[bytes], Any]] = {
    "earnings": model.read_earnings,
    "fundamentals": model.read_fundamentals,
}
PROCESSORS: dict[str, type[Processor[Any]]] = {"earnings": EarningsProcessor, "fundamentals": FundamentalAnalyzer}
REFUSALS = (Reason.NO_DATA, Reason.UNREADABLE, Reason.TRUNCATED, Reason.WRONG_COMPANY)
COVERED = (("quarter", "2025-03-29"), ("quarter", "2025-06-28"), ("quarter", "2025-09-27"), ("year", "2025-09-27"))


def read(domain: str, said: object) -> Read | None:
    """None for what is refused, which must be in a way that is known."""
    try:
        return READERS[domain](model.body(said))
    except ParseError as error:
        if error.reason not in REFUSALS:
            raise
        return None


def wrong(data: Read | None) -> list[str]:
    if data is None:
        return []
    if isinstance(data, EarningsData):
        return list(model.wrong_reports(data.reports))
    return list(model.wrong_metrics(data.metrics))


def how_many(data: Read | None) -> int:
    if data is None:
        return 0
    if isinstance(data, FundamentalsData):
        return len(data.metrics)
    figures = [(r.revenue, r.net_income, r.eps_diluted, r.estimate) for r in data.reports]
    return sum(value is not None for row in figures for value in row)


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def renamed(row: dict[str, Any], name: str) -> Iterator[Any]:
    for other in (f"{name}_in_millions", f"total_{name}", name.title(), f"{name}_value"):
        yield without(row, name) | {other: row[name]}


def retyped(row: dict[str, Any], name: str) -> Iterator[Any]:
    value = row[name]
    for other in (
        *(None, True, 0, -1, "", "N/A", {}, [value], {"value": value}, str(value), f"{value}%", f"~{value}"),
        *(f"{value} - {value}", f"{value}[2]", f"€{value}", f"{value} GBp", f"{value} million", 2025, "FY2025"),
    ):
        yield row | {name: other}


def retyped_currency(row: dict[str, Any], name: str) -> Iterator[Any]:
    if name in ("currency", "unit"):
        for other in ("EUR", "GBP", "GBp", "GBX", "usd", "$", "USD millions", "USDm", "shares", "percent", "EUR/share"):
            yield row | {name: other}
    if name == "kind":
        for other in ("year", "quarter", "half", "YEAR", "ttm"):
            yield row | {name: other}
            yield row | {name: other, "period_start": None}


def told_scale(row: dict[str, Any], name: str) -> Iterator[Any]:
    value = row[name]
    if isinstance(value, int | float) and abs(value) > 1e6:
        yield row | {name: value / 1_000_000, "unit_scale": "millions"}
        yield row | {name: value / 1_000, "amounts": "in thousands of dollars"}
        yield row | {name: value / 1_000, "multiplier": 1000}


def scaled(row: dict[str, Any], name: str) -> Iterator[Any]:
    value = row[name]
    if isinstance(value, int | float) and not isinstance(value, bool) and name != "source":
        small = abs(value) < 1e4
        for factor in (100, 0.01) if small else (1e3, 1e-3, 1e6, 1e-6, 1e9, 1e-9):
            yield row | {name: float(Decimal(str(value)) * Decimal(str(factor)))}


CHANGES: dict[str, Change] = {
    "removed": lambda row, name: iter([without(row, name)]),
    "renamed": renamed,
    "retyped": retyped,
    "another unit": retyped_currency,
    "a scale beside it": told_scale,
    "scaled": scaled,
}


def changed(domain: str, change: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole answer with one field of one row changed, in place and as a second row of the same: every figure, and
    the other fields of some rows.
    """
    key = LISTS[domain]
    for n, row in enumerate(WHOLE[domain][key]):
        for name in row if n in (0, 2, 4) else row.keys() & {*model.FIGURES, "value"}:
            for made in CHANGES[change](row, name):
                rows = list(WHOLE[domain][key])
                yield f"{name} of row {n}: {made}", {**WHOLE[domain], key: [*rows[:n], made, *rows[n + 1 :]]}
                yield f"{name} of row {n} twice: {made}", {**WHOLE[domain], key: [*rows, made]}


@pytest.mark.parametrize("domain", WHOLE)
def test_the_whole_answer_is_read_whole(domain: str) -> None:
    data = read(domain, WHOLE[domain])
    assert wrong(data) == []
    assert how_many(data) == {"earnings": 19, "fundamentals": 13}[domain]


@pytest.mark.parametrize("domain", WHOLE)
@pytest.mark.parametrize("change", CHANGES)
def test_a_field_that_is_changed_gives_no_wrong_number(domain: str, change: str) -> None:
    whole, seen = how_many(read(domain, WHOLE[domain])), 0
    for what, said in changed(domain, change):
        data = read(domain, said)
        assert wrong(data) == [], what
        assert how_many(data) <= whole, what
        seen += 1
    assert seen


@pytest.mark.parametrize("domain", WHOLE)
def test_a_field_of_the_answer_itself_that_is_changed_gives_no_wrong_number(domain: str) -> None:
    for name in WHOLE[domain]:
        for change in ("removed", "renamed", "retyped"):
            for made in CHANGES[change](WHOLE[domain], name):
                assert wrong(read(domain, made)) == [], (name, made)


@pytest.mark.parametrize("domain", WHOLE)
def test_rows_twice_or_in_another_place_say_the_same_or_nothing(domain: str) -> None:
    key, whole = LISTS[domain], read(domain, WHOLE[domain])
    rows = WHOLE[domain][key]
    assert read(domain, {**WHOLE[domain], key: rows * 2}) == whole
    assert read(domain, {"answer": WHOLE[domain]}) is None
    for other in ({str(n): row for n, row in enumerate(rows)}, [rows], json.dumps(rows), rows[0]):
        assert how_many(read(domain, {**WHOLE[domain], key: other})) == 0
    assert how_many(read(domain, {**WHOLE[domain], key: [rows, *rows]})) <= how_many(whole)


@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e6, 1e-6])
@pytest.mark.parametrize("domain", WHOLE)
def test_a_row_in_another_unit_than_the_others_gives_no_number(domain: str, factor: float) -> None:
    key = LISTS[domain]
    for n, row in enumerate(WHOLE[domain][key]):
        made = {
            name: value * factor if isinstance(value, int) and value > 1e6 else value for name, value in row.items()
        }
        rows = list(WHOLE[domain][key])
        for said in ([*rows[:n], made, *rows[n + 1 :]], [*rows, made]):
            assert wrong(read(domain, {**WHOLE[domain], key: said})) == [], made


def test_a_quarter_is_not_taken_for_a_year_nor_one_quarter_for_another() -> None:
    for period in model.PERIODS:
        for other in model.PERIODS:
            taken = {name: model.row(other)[name] for name in model.FIGURES}
            rows = [model.row(one) | (taken if one == period else {}) for one in model.PERIODS]
            data = read("earnings", model.earnings(rows))
            assert period == other or wrong(data) == [], (period, other)


@pytest.mark.parametrize("domain", WHOLE)
def test_an_answer_that_breaks_off_anywhere_says_nothing_else(domain: str) -> None:
    text = json.dumps(WHOLE[domain])
    whole = read(domain, text)
    thought = f"<think>Or is it {text.replace('95359', '95360')}?</think>"
    for wrapped in (text, f"Here it is:\n```json\n{text}\n```\nGood luck!", thought + text):
        assert read(domain, wrapped) == whole
        for end in range(0, len(wrapped), 13):
            assert read(domain, wrapped[:end]) in (None, whole), wrapped[:end][-40:]
    sent = model.body(text)
    for end in range(0, len(sent), 17):
        with pytest.raises(ParseError):
            READERS[domain](sent[:end])


@pytest.mark.parametrize("domain", WHOLE)
@pytest.mark.parametrize(
    "words",
    [
        "All amounts are in thousands.",
        "(in USD millions)",
        "Figures in millions of US dollars",
        "$000s",
        "USD m",
        "(£m)",
    ],
)
def test_words_that_tell_another_unit_are_heard(domain: str, words: str) -> None:
    text = json.dumps(WHOLE[domain])
    assert read(domain, f"{words}\n{text}") is None
    assert read(domain, f"{text}\n{words}") is None
    assert read(domain, {**WHOLE[domain], "note": words}) is None
    for harmless in ("Sales came to 435.6 billion dollars.", "Like in the 2000s:", "$416 million, as it were."):
        assert read(domain, f"{harmless}\n{text}") is not None


@pytest.mark.parametrize("domain", WHOLE)
@given(body=st.data())
def test_any_bytes_give_records_or_a_parse_error(domain: str, body: st.DataObject) -> None:
    sent = model.body(WHOLE[domain])
    start, end = sorted(body.draw(st.tuples(st.integers(0, len(sent)), st.integers(0, len(sent)))))
    made = body.draw(st.binary(max_size=60) | st.just(sent[:start] + body.draw(st.binary(max_size=9)) + sent[end:]))
    try:
        data = READERS[domain](made)
    except ParseError:
        return
    again = type(data).model_validate_json(data.model_dump_json())
    assert again == data == READERS[domain](made)


@pytest.mark.parametrize("domain", WHOLE)
@given(data=st.data())
def test_rows_in_any_order_say_the_same(domain: str, data: st.DataObject) -> None:
    key = LISTS[domain]
    figures = st.sampled_from(["revenue", "net_income", "eps_diluted", "value", "source", "period_end", "as_of"])
    rows = copy.deepcopy(WHOLE[domain][key])
    for row in data.draw(st.lists(st.sampled_from(rows), max_size=4)):
        name, factor = data.draw(figures), data.draw(st.sampled_from([1, 1.0001, 1.01, 2, 1e3, 1e-3]))
        value = row.get(name)
        rows.append(row | ({name: value * factor} if isinstance(value, int | float) else {"source": 2}))
    shuffled = list(rows)
    random.Random(data.draw(st.integers())).shuffle(shuffled)
    assert read(domain, {**WHOLE[domain], key: shuffled}) == read(domain, {**WHOLE[domain], key: rows})


# Beside the filings


def beside_filings(said: list[dict[str, Any]]) -> EarningsData:
    """The document of the four filed periods and what a model states; nothing in it is wrong."""
    filed = model.filed_reports(*COVERED)
    try:
        document = model.earnings_document(model.body(model.earnings(said)), filed)
    except ParseError:
        document = EarningsProcessor({}, []).merge([filed])
    assert list(model.wrong_reports(document.reports)) == []
    return document


def times(row: dict[str, Any], factor: float, *names: str) -> dict[str, Any]:
    return row | {name: row[name] * factor for name in names if row[name] is not None}


AMOUNTS = ("revenue", "net_income")
LIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "in thousands": lambda row: times(row, 1e-3, *AMOUNTS),
    "in millions": lambda row: times(row, 1e-6, *AMOUNTS, "eps_diluted"),
    "a thousand times": lambda row: times(row, 1e3, *AMOUNTS),
    "in euros": lambda row: row | {"currency": "EUR"},
    "in cents a share": lambda row: times(row, 100, "eps_diluted", "eps_estimate"),
    "for each depositary receipt": lambda row: times(row, 5, "eps_diluted"),
    "before a split": lambda row: times(row, 10, "eps_diluted"),
    "revenue alone in thousands": lambda row: times(row, 1e-3, "revenue"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_whole_answer_gets_wrong_is_found_beside_the_filings(lie: str) -> None:
    lies = [LIES[lie](row) for row in model.rows()]
    for said in (lies, lies[3:4]):
        document = beside_filings(said)
        assert {check.verdict for check in document.checks if check.filed is not None} <= {"conflicting", "verified"}


def test_what_no_filing_covers_is_taken_where_it_fits_and_marked() -> None:
    document = beside_filings(model.rows())
    (newest, *_) = document.reports
    figures = [newest.revenue, newest.net_income, newest.eps_diluted]
    assert figures == [Decimal(143_756_000_000), Decimal(42_097_000_000), Decimal("2.84")]
    assert (newest.accession, newest.provenance.kind) == (None, Kind.MODEL)
    verdicts = {(check.period_end.isoformat(), check.verdict) for check in document.checks}
    assert ("2025-12-27", "unverified") in verdicts
    assert ("2025-09-27", "verified") in verdicts


def test_a_conflict_of_units_says_which() -> None:
    document = beside_filings([times(row, 1e-3, *AMOUNTS) for row in model.rows()[:2]])
    notes = {check.note for check in document.checks if check.verdict == "conflicting"}
    assert notes == {"a thousandth of the filing's: counted in thousands?"}
    document = beside_filings([times(row, 1.1, "revenue") for row in model.rows()[:2]])
    assert {check.note for check in document.checks} == {None}


def test_one_row_in_another_unit_is_told_of_and_the_others_are_compared_all_the_same() -> None:
    rows = model.rows()
    document = beside_filings([times(rows[0], 1e-3, "revenue"), *rows[1:4]])
    verdicts = {
        (check.period_end.isoformat(), check.figure): check.verdict
        for check in document.checks
        if check.figure == "revenue"
    }
    assert verdicts == {
        ("2025-03-29", "revenue"): "conflicting",
        ("2025-06-28", "revenue"): "verified",
        ("2025-09-27", "revenue"): "verified",
        ("2025-12-27", "revenue"): "unverified",
    }
    assert model.earnings_document(model.body(model.earnings(rows)), model.filed_reports(*COVERED)) == beside_filings(
        rows[::-1]
    )


@pytest.mark.parametrize("name", model.METRICS)
def test_a_metric_in_another_unit_does_not_stand_among_filed_ones(name: str) -> None:
    others = model.METRICS.keys() - {name}
    filed = model.filed_metrics(*others)
    row = model.metric(name)
    small = row["value"] < 1e4
    taken = 0
    for factor in (1, 100) if small else (1, 1e-3, 1e-6):
        for stated in ([row | {"value": row["value"] * factor}], [row | {"unit": "EUR"}]):
            document = model.fundamentals_document(model.body(model.fundamentals(stated)), filed)
            assert list(model.wrong_metrics(document.metrics)) == []
            assert {document.metrics[one].check for one in others} == {"filing"}
            taken += document.metrics[name].value is not None
    assert taken == 1


@pytest.mark.parametrize("name", model.METRICS)
def test_a_filed_metric_is_kept_whatever_a_model_states_and_both_are_shown(name: str) -> None:
    row = model.metric(name)
    for factor in (1.1, 0.5, 0.01):
        stated = [row | {"value": row["value"] * factor}, *(one for one in model.metrics() if one["name"] != name)]
        filed = model.filed_metrics(*model.METRICS)
        document = model.fundamentals_document(model.body(model.fundamentals(stated)), filed)
        assert document.metrics == filed.data.metrics
        found = {check.figure: check for check in document.checks}
        assert found[name].verdict == "conflicting"
        assert found[name].difference == found[name].stated - Decimal(str(row["value"]))
        assert {check.verdict for figure, check in found.items() if figure != name} == {"verified"}
        assert len(found) == len(model.METRICS)


@pytest.mark.parametrize("domain", WHOLE)
def test_an_answer_of_which_nothing_is_believed_does_not_replace_a_good_one(domain: str) -> None:
    key = LISTS[domain]
    halves = [
        {name: v / 1e3 if isinstance(v, int) and v > 1e6 else v for name, v in row.items()}
        for row in WHOLE[domain][key][:2]
    ]
    incoherent = {**WHOLE[domain], key: [*halves, *WHOLE[domain][key][2:]]}
    processor: Processor[Any] = PROCESSORS[domain]({}, [])
    good, bad = (STATED[domain](model.body(said)) for said in (WHOLE[domain], incoherent))
    assert processor.doubt(good, good) is None
    assert "and held" in (processor.doubt(good, bad) or "")


def test_of_two_rows_of_a_period_what_agrees_stays_and_what_contradicts_is_unknown() -> None:
    row = model.row(("quarter", "2025-09-27"))
    rounded = row | {"revenue": 102_500_000_000, "net_income": 27_500_000_000, "period_end": "2025-09-30", "source": 2}
    for rows in ([row, rounded], [rounded, row], [row, rounded, row]):
        (report,) = model.earnings_document(model.body(model.earnings(rows))).reports
        assert (report.revenue, report.net_income) == (Decimal(102_466_000_000), Decimal(27_466_000_000))
    other = row | {"revenue": 94_900_000_000}
    for rows in ([row, other], [other, row], [row, other, row], [row, row, other]):
        (report,) = model.earnings_document(model.body(model.earnings(rows))).reports
        assert (report.revenue, report.net_income) == (None, Decimal(27_466_000_000))


def test_a_newer_metric_wins_and_two_of_one_day_must_agree() -> None:
    def cash(*rows: dict[str, Any]) -> Any:
        metrics = model.fundamentals_document(model.body(model.fundamentals(rows))).metrics
        return metrics["cash"].value if "cash" in metrics else None

    new, old = model.metric("cash"), model.metric("cash") | {"as_of": "2025-09-27", "value": 35_934_000_000}
    assert cash(new, old) == cash(old, new) == cash(new) == Decimal(45_317_000_000)
    assert cash(new, new | {"value": 45_300_000_000}) == Decimal(45_317_000_000)
    assert cash(new, new | {"value": 35_934_000_000}) is None
    assert cash(new, new | {"unit": "EUR"}) is None


@pytest.mark.parametrize(
    "code", ["GBp", "GBX", "GBx", "pence", "ILA", "ZAc", "ZAC", "usd", "$", "US$", "USX", "KWF", ""]
)
def test_hundredths_of_a_currency_and_unknown_ones_are_no_currency(code: str) -> None:
    for unit in (code, f"{code}/share"):
        assert (
            model.fundamentals_document(model.body(model.fundamentals([model.metric("cash") | {"unit": unit}]))).metrics
            == {}
        )
    with pytest.raises(ParseError, match="without a period or a currency"):
        model.earnings_document(model.body(model.earnings([row | {"currency": code} for row in model.rows()])))


def test_pence_a_share_are_not_taken_for_pounds() -> None:
    """British companies tell revenue in pounds and earnings per share in pence."""
    rows = [row | {"currency": "GBP", "eps_diluted": row["eps_diluted"] * 100} for row in model.rows()]
    reports = model.earnings_document(model.body(model.earnings(rows))).reports
    assert {report.eps_diluted for report in reports} == {None}
    assert None not in {report.revenue for report in reports}
    written = [row | {"eps_diluted": f"£{row['eps_diluted'] / 100}"} for row in rows]
    reports = model.earnings_document(model.body(model.earnings(written))).reports
    assert reports[0].eps_diluted == Decimal("2.84")


def test_a_fraction_said_to_be_in_percent_is_either() -> None:
    def margin(value: object, unit: str) -> Any:
        row = model.metric("gross_margin") | {"value": value, "unit": unit}
        metrics = model.fundamentals_document(model.body(model.fundamentals([row]))).metrics
        return metrics["gross_margin"].value if metrics else None

    assert margin(47.3, "percent") == margin("47.3%", "%") == margin(0.473, "ratio") == Decimal("0.473")
    assert margin("47.3 %", "ratio") == Decimal("0.473")
    for value, unit in ((0.473, "percent"), (47.3, "ratio"), (-47.3, "ratio"), (1, "percent"), ("$0.47", "ratio")):
        assert margin(value, unit) is None, (value, unit)


def test_more_rows_than_make_sense_are_no_answer() -> None:
    for domain, row in (("earnings", model.rows()[0]), ("fundamentals", model.metrics()[0])):
        assert read(domain, {**WHOLE[domain], LISTS[domain]: [row] * 41}) is None


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e6, 1e-6])
def test_a_lone_row_with_one_amount_in_another_unit_states_neither(name: str, factor: float) -> None:
    for period in model.PERIODS:
        for more in ({}, {"eps_diluted": None}):
            data = read("earnings", model.earnings([times(model.row(period), factor, name) | more]))
            assert wrong(data) == []
            assert how_many(data) == 0


def test_an_answer_that_is_in_millions_throughout_states_no_amount_that_could_be_dollars() -> None:
    """Without earnings per share nothing in it says so; what is so small for a listed company is not believed."""
    small = [{**one, "revenue": 143_756, "net_income": None, "eps_diluted": None} for one in model.rows()]
    with pytest.raises(ParseError):
        model.read_earnings(model.body(model.earnings(small, next_report_date=None)))
    only = [{"name": "revenue_ttm", "value": 435_617, "unit": "USD", "as_of": model.AS_OF, "source": 1}]
    assert "revenue_ttm" not in model.read_fundamentals(model.body(model.fundamentals(only))).metrics
