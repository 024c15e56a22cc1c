"""EDGAR's index of companies and of one company's filings.

``company_tickers.json`` is ``{"0": {"cik_str", "ticker", "title"}, ...}``; ``submissions/CIK##########.json`` holds the
newest thousand or so filings as columns of equal length under ``filings.recent``, and names under ``filings.files`` the
pages that hold the older ones: such columns without anything around them.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.json_values import as_date, as_int, as_list, as_object, as_text
from scheduler_service.strict_json import load_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

REPORT_FORMS = frozenset({"10-K", "10-Q", "10-KT", "10-QT", "20-F", "40-F"})
"""Forms whose figures appear in companyfacts; amendments are these with ``/A``. A 6-K counts where it carries XBRL."""
RESULTS_ITEM = "2.02"
"""Item of a form 8-K: Results of Operations and Financial Condition."""
_ACCESSION = re.compile(r"[0-9]{10}-[0-9]{2}-[0-9]{6}")
_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?Z?")
_ADDED = re.compile(r" ?[/\\] ?(?:[A-Za-z]{2,3})? ?[/\\]?$")
"""``BANK OF AMERICA CORP /DE/``, ``COSTCO WHOLESALE CORP /NEW``, ``TOYOTA MOTOR CORP/``."""
_NEEDED_COLUMNS = ("accessionNumber", "filingDate", "form")


@dataclass(frozen=True, slots=True)
class Filing:
    """One filing. ``filed`` is EDGAR's date of it, ``accepted`` the moment, without a zone: EDGAR says UTC, and means
    that in some filings, New York's time in others. ``size`` is of all its documents, in bytes.
    """

    accession: str
    form: str
    filed: date
    period: date | None
    items: tuple[str, ...]
    document: str
    """The primary document's file name, or an empty text."""
    description: str
    has_xbrl: bool
    accepted: dt.datetime | None = None
    size: int = 0

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
class Page:
    """A file of older filings: their number and the day of the newest."""

    name: str
    filings: int
    until: date


@dataclass(frozen=True, slots=True)
class Submissions:
    """A company and its newest filings, newest first; ``older`` are the pages of the others, newest first."""

    cik: int
    name: str
    tickers: tuple[str, ...]
    filings: tuple[Filing, ...]
    older: tuple[Page, ...] = ()

    @property
    def newest_report_accession(self) -> str | None:
        """The filing that last changed the company's figures: the revision of its companyfacts."""
        return next((f.accession for f in self.filings if f.is_report), None)

    @property
    def releases(self) -> tuple[Filing, ...]:
        """Announcements of results; not each of a quarter: some companies announce deliveries under the same item."""
        return tuple(f for f in self.filings if f.is_release)

    def pages_back_to(self, day: date) -> tuple[Page, ...]:
        """The pages to read so as to know all filings since a day."""
        known_to = min((f.filed for f in self.filings), default=None)
        return tuple(p for p in self.older if p.until >= day) if known_to is None or known_to > day else ()

    def with_older(self, filings: Iterable[Filing]) -> Submissions:
        """With the filings of a page; one that has moved there meanwhile counts once."""
        known = {f.accession for f in self.filings}
        return replace(self, filings=_newest_first((*self.filings, *(f for f in filings if f.accession not in known))))

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


def parse_names(body: bytes) -> Mapping[str, str]:
    """Ticker, in EDGAR's spelling, to the company's name, without the state or class that EDGAR adds to some."""
    names: dict[str, str] = {}
    for row in load_object(body).values():
        fields = as_object(row)
        ticker, name = _spelling(as_text(fields.get("ticker"))), _bare_name(as_text(fields.get("title")))
        if ticker and name:
            names.setdefault(ticker, name)
    return names


def _bare_name(title: str) -> str:
    return _ADDED.sub("", " ".join(title.split())).strip()


def find_name(names: Mapping[str, str], symbol: str) -> str | None:
    """The name of a symbol's company, in any spelling of the symbol."""
    return names.get(_spelling(symbol))


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
    tickers = tuple(t for value in as_list(root.get("tickers")) if (t := as_text(value)))
    pages = (_page(as_object(value), cik) for value in as_list(as_object(root.get("filings")).get("files")))
    older = sorted((page for page in pages if page is not None), key=lambda p: (p.until, p.name), reverse=True)
    return Submissions(cik, as_text(root.get("name")), tickers, _filings(recent), tuple(older))


def parse_older_filings(body: bytes) -> tuple[Filing, ...]:
    """A page of older filings, newest first. Raises ``ParseError`` where the columns do not make rows."""
    return _filings(load_object(body))


def _filings(columns: dict[str, Any]) -> tuple[Filing, ...]:
    return _newest_first(filing for row in _rows(columns) if (filing := _filing(row)) is not None)


def _newest_first(filings: Iterable[Filing]) -> tuple[Filing, ...]:
    """As EDGAR sends them; the sort is stable and keeps its order within a day."""
    return tuple(sorted(filings, key=lambda f: f.filed, reverse=True))


def _page(fields: Mapping[str, Any], cik: int) -> Page | None:
    name, until = as_text(fields.get("name")), as_date(fields.get("filingTo"))
    if until is None or not re.fullmatch(rf"CIK{cik:010d}-submissions-[0-9]{{3}}\.json", name):
        return None
    return Page(name, as_int(fields.get("filingCount")) or 0, until)


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
        accepted=_moment(row.get("acceptanceDateTime")),
        size=max(as_int(row.get("size")) or 0, 0),
    )


def _moment(value: Any) -> dt.datetime | None:
    """``2026-01-29T16:30:33.000Z``, without its zone."""
    if not (found := _MOMENT.fullmatch(as_text(value))):
        return None
    try:
        return dt.datetime.fromisoformat(found[1])
    except ValueError:
        return None


def _spelling(symbol: str) -> str:
    return symbol.strip().upper().replace(".", "-").replace("/", "-")
