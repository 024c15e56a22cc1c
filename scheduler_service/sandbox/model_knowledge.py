"""What the sandbox's language model can say of a company: its figures under the names that questions may give them.

It has read the bundled filings and the search results of the moment, and nothing else.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from scheduler_service.sandbox.schema_instance import Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.sandbox.company import Company, Profile
    from scheduler_service.sandbox.reported import KeyFigure, Reported, ReportedPeriod
    from scheduler_service.sandbox.schema_instance import Words
    from scheduler_service.sandbox.search_results import Found

NOTHING_KNOWN = "Nothing is known of this company in the sandbox."
MOODS = ("positive", "neutral", "negative")
BETWEEN_RESULTS = timedelta(days=91)
CONFIRMED_WITHIN = timedelta(days=30)

_RESULTS_ITEM = "2.02"
_FIGURES = ("revenue", "gross_profit", "operating_income", "net_income", "eps_diluted", "total_debt", "equity", "cash")
_HOURS = ("bmo", "amc", "unknown")


def topic_of(company: Company, told: Reported, results: Sequence[Found], today: date) -> Topic:
    """Everything about a company. A ``source`` is the id of a result, null where the search found none."""
    figures = [_figure(one, results) for one in told.key_figures]
    periods = [_period(company.profile.symbol, one, told, results) for one in told.periods]
    report = _next_report(company, results, today)
    whole = {
        **_who(company.profile),
        **(periods[0] if periods else {}),
        **{one.name: one.value for one in told.key_figures},
        **{f"next_report_{name}": value for name, value in report.items()},
        **_named("analysis summary overview text commentary outlook answer", analysis(company.profile, told, results)),
        **_named("sources citations source_ids source_indices analysis_sources references", _ids(results)),
        **_named("source source_id source_index citation", _source(results, "figures")),
        **_named("as_of as_of_date", told.key_figures[0].as_of.isoformat() if told.key_figures else None),
        **_named("currency currency_code reporting_currency", told.currency),
        **_named("sentiment mood tone", _mood(company.profile.symbol)),
    }
    things = {
        **{one.name: words for one, words in zip(told.key_figures, figures, strict=True)},
        **_named("next_report next_earnings next_results", report),
        **_named("latest latest_quarter last_quarter newest", periods[0] if periods else {}),
    }
    stories = [_story(one) for one in results if one.topic == "story"]
    return Topic(whole, things, {"periods": periods, "figures": figures, "stories": stories})


def unknown_topic() -> Topic:
    """Of a company that is not bundled."""
    return Topic(_named("analysis summary overview text answer", NOTHING_KNOWN), known=False)


def analysis(profile: Profile, told: Reported, results: Sequence[Found]) -> str:
    """A text that changes when something new is reported; plainly fictional, with the marks that real ones have."""
    source = _source(results, "figures")
    mark, raised = (f"[{source}]", f"^[{source}]^") if source else ("", "")
    if not told.key_figures:
        return f"**{profile.name}** has not reported anything yet. This text is generated.{mark}"
    values = {one.name: one.value for one in told.key_figures}
    as_of = told.key_figures[0].as_of.isoformat()
    parts = [
        f"**{profile.name}** ({profile.symbol}, {profile.industry}) is described here by a generator, not a model."
    ]
    if "revenue_ttm" in values:
        parts.append(f"Up to {as_of} it took in {values['revenue_ttm']:,} {told.currency} in twelve months.{mark}")
    if "net_margin" in values:
        parts.append(f"Of each 100 it kept {values['net_margin'] * 100:.1f}.{raised}")
    if "total_debt" in values and "cash" in values:
        more = "more debt than cash" if values["total_debt"] > values["cash"] else "more cash than debt"
        parts.append(f"It had {more}.{mark}")
    parts.append("Its imaginary risks: fog, and readers who take this text for advice.")
    return " ".join(parts)


def _who(profile: Profile) -> Words:
    return {
        **_named("ticker symbol stock_symbol ticker_symbol stock", profile.symbol),
        **_named("tickers symbols", (profile.symbol,)),
        **_named("company company_name name issuer entity", profile.name),
        **_named("exchange listing", profile.exchange),
        **_named("sector industry", profile.industry),
        **_named("cik", str(profile.cik)),
        **_named(
            "risks strengths highlights key_points opportunities", ("Generated point one.", "Generated point two.")
        ),
    }


def _period(symbol: str, period: ReportedPeriod, told: Reported, results: Sequence[Found]) -> Words:
    figures = period.figures
    return {
        **dict.fromkeys(_FIGURES),
        **figures,
        **_named("kind period_type type frequency", period.kind),
        **_named("period_start start start_date from", period.start.isoformat()),
        **_named("period_end end end_date fiscal_period_end period_ending to", period.end.isoformat()),
        **_named("reported_on filed filed_on report_date announced_on reported date", period.filed.isoformat()),
        **_named("total_revenue revenues sales net_sales", figures.get("revenue")),
        **_named("net_profit profit net_earnings earnings", figures.get("net_income")),
        **_named("eps diluted_eps earnings_per_share", figures.get("eps_diluted")),
        "eps_estimate": expected_eps(symbol, period),
        **_named("currency currency_code", told.currency),
        **_named("source source_id source_index citation", _source(results, f"quarter {period.end.isoformat()}")),
    }


def expected_eps(symbol: str, period: ReportedPeriod) -> float | None:
    """What imaginary analysts had expected: up to 11 % more or less than came."""
    earned = period.figures.get("eps_diluted")
    error = _number(f"{symbol} {period.kind} {period.end.isoformat()}") % 23 - 11
    return None if earned is None else round(earned * (1 + error / 100), 2)


def _figure(figure: KeyFigure, results: Sequence[Found]) -> Words:
    return {
        **_named("name metric figure", figure.name),
        **_named("value amount number", figure.value),
        **_named("unit units", figure.unit),
        **_named("as_of as_of_date date", figure.as_of.isoformat()),
        **_named("source source_id source_index citation", _source(results, "figures")),
    }


def _story(found: Found) -> Words:
    return {
        **_named("source source_id source_index id index result result_id citation", found.id),
        **_named("title headline", found.title),
        **_named("url link", found.url),
        **_named("summary snippet description text", found.snippet),
        **_named("published published_at published_on date", found.day and found.day.isoformat()),
        **_named("sentiment mood tone", _mood(found.url)),
    }


def _next_report(company: Company, results: Sequence[Found], today: date) -> Words:
    """The next announcement in the data set; where it ends, a quarter after the last, and so on."""
    days = [date.fromisoformat(one.filed) for one in company.filings if _RESULTS_ITEM in one.items]
    if not days:
        return {}
    day = next((one for one in sorted(days) if one >= today), max(days))
    while day < today:
        day += BETWEEN_RESULTS
    return {
        **_named("date day", day.isoformat()),
        **_named("time hour", _HOURS[_number(company.profile.symbol) % len(_HOURS)]),
        **_named("confirmed is_confirmed", day - today <= CONFIRMED_WITHIN),
        **_named("source source_id source_index", _source(results, "calendar")),
    }


def _source(results: Sequence[Found], topic: str) -> int | None:
    """The id of the page that is about it, else of the page of key figures, else of the first."""
    ids = {one.topic: one.id for one in reversed(results)}
    return ids.get(topic) or ids.get("figures") or (results[0].id if results else None)


def _ids(results: Sequence[Found]) -> tuple[int, ...]:
    return tuple(one.id for one in results if one.topic in ("figures", "calendar") or one.topic.startswith("quarter"))


def _mood(text: str) -> str:
    return MOODS[_number(text) % len(MOODS)]


def _number(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0]


def _named(names: str, value: Any) -> Words:
    """One value under each of its names."""
    return dict.fromkeys(names.split(), value)
