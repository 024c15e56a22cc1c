"""EDGAR's index of companies and of one company's filings.

``company_tickers.json`` is ``{"0": {"cik_str", "ticker", "title"}, ...}``; ``submissions/CIK##########.json`` holds the
newest thousand or so filings as columns of equal length under ``filings.recent``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.json_values import as_date, as_int, as_list, as_object, as_text
from scheduler_service.strict_json import load_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

REPORT_FORMS = frozenset({"10-K", "10-Q", "10-KT", "10-QT", "20-F", "40-F"})
"""Forms whose figures appear in companyfacts; amendments are these with ``/A``. A 6-K counts where it carries XBRL."""
RESULTS_ITEM = "2.02"
"""Item of a form 8-K: Results of Operations and Financial Condition."""
_ACCESSION = re.compile(r"[0-9]{10}-[0-9]{2}-[0-9]{6}")
_NEEDED_COLUMNS = ("accessionNumber", "filingDate", "form")


@dataclass(frozen=True, slots=True)
class Filing:
    """One filing. ``filed`` is EDGAR's date of it; the time of day is left out: EDGAR's zone is not reliable."""

    accession: str
    form: str
    filed: date
    period: date | None
    items: tuple[str, ...]
    document: str
    """The primary document's file name, or an empty text."""
    description: str
    has_xbrl: bool

    @property
    def base_form(self) -> str:
        """The form without ``/A`` of an amendment."""
        return self.form.removesuffix("/A")

    @property
    def is_report(self) -> bool:
        return self.base_form in REPORT_FORMS or (self.base_form == "6-K" and self.has_xbrl)

    @property
    def is_release(self) -> bool:
        return self.base_form == "8-K" and RESULTS_ITEM in self.items


@dataclass(frozen=True, slots=True)
class Submissions:
    """A company and its newest filings, newest first."""

    cik: int
    name: str
    tickers: tuple[str, ...]
    filings: tuple[Filing, ...]

    @property
    def newest_report_accession(self) -> str | None:
        """The filing that last changed the company's figures: the revision of its companyfacts."""
        return next((f.accession for f in self.filings if f.is_report), None)

    @property
    def releases(self) -> tuple[Filing, ...]:
        """Announcements of results; not each of a quarter: some companies announce deliveries under the same item."""
        return tuple(f for f in self.filings if f.is_release)

    def document(self, accession: str) -> str:
        """The primary document of a filing, or an empty text where it is not among the newest."""
        return next((f.document for f in self.filings if f.accession == accession), "")


def parse_tickers(body: bytes) -> Mapping[str, int]:
    """Ticker, in EDGAR's spelling, to CIK. The file is sorted by size, so the first of two equal tickers stays."""
    tickers: dict[str, int] = {}
    for row in load_object(body).values():
        fields = as_object(row)
        ticker, cik = _spelling(as_text(fields.get("ticker"))), as_int(fields.get("cik_str"))
        if ticker and cik:
            tickers.setdefault(ticker, cik)
    if not tickers:
        raise ParseError("EDGAR's list of tickers holds no ticker", Reason.NO_DATA)
    return tickers


def find_cik(tickers: Mapping[str, int], symbol: str) -> int | None:
    """The company of a symbol; EDGAR writes share classes with a dash, others with a dot or a slash (``BRK.B``)."""
    return tickers.get(_spelling(symbol))


def parse_submissions(body: bytes) -> Submissions:
    """The company's newest filings. Raises ``ParseError`` where the columns do not make rows."""
    root = load_object(body)
    cik = as_int(root.get("cik"))
    if not cik:
        raise ParseError("the submissions name no company: there is no cik", Reason.UNREADABLE)
    recent = as_object(root.get("filings")).get("recent")
    if not isinstance(recent, dict):
        raise ParseError("the submissions hold no filings.recent", Reason.UNREADABLE)
    filings = [filing for row in _rows(recent) if (filing := _filing(row)) is not None]
    # Newest first as EDGAR sends them; the sort is stable and keeps its order within a day.
    filings.sort(key=lambda f: f.filed, reverse=True)
    tickers = tuple(t for value in as_list(root.get("tickers")) if (t := as_text(value)))
    return Submissions(cik, as_text(root.get("name")), tickers, tuple(filings))


def as_accession(value: Any) -> str | None:
    """An accession number, EDGAR's name of a filing: ``0000320193-25-000079``."""
    return value if isinstance(value, str) and _ACCESSION.fullmatch(value) else None


def _rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    named = {name: column for name, column in columns.items() if isinstance(column, list)}
    missing = [name for name in _NEEDED_COLUMNS if name not in named]
    if missing:
        raise ParseError(f"filings.recent has no column {', '.join(missing)}", Reason.UNREADABLE)
    lengths = {len(column) for column in named.values()}
    if len(lengths) > 1:
        raise ParseError("the columns of filings.recent differ in length", Reason.UNREADABLE)
    return [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]


def _filing(row: Mapping[str, Any]) -> Filing | None:
    accession, form, filed = as_accession(row["accessionNumber"]), as_text(row["form"]), as_date(row["filingDate"])
    if accession is None or not form or filed is None:
        return None
    items = tuple(item for part in as_text(row.get("items")).split(",") if (item := part.strip()))
    return Filing(
        accession=accession,
        form=form,
        filed=filed,
        period=as_date(row.get("reportDate")),
        items=items,
        document=as_text(row.get("primaryDocument")),
        description=as_text(row.get("primaryDocDescription")),
        has_xbrl=row.get("isXBRL") == 1,
    )


def _spelling(symbol: str) -> str:
    return symbol.strip().upper().replace(".", "-").replace("/", "-")
