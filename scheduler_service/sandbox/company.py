"""What the sandbox knows of a company: its filings, and the facts they report. Dates are ISO texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filing:
    """One filing. ``fy`` and ``fp`` describe the filing, not the periods in it; None where it reports no figures."""

    accession: str
    form: str
    filed: str
    report_date: str
    accepted: str | None
    items: str
    document: str
    fy: int | None
    fp: str | None


@dataclass(frozen=True, slots=True)
class Fact:
    """One reported figure, in full units. ``start`` is None for what holds at an instant."""

    tag: str
    unit: str
    start: str | None
    end: str
    value: int | float
    accession: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Who the company is, as EDGAR has it. ``fiscal_year_end`` is ``MMDD``."""

    symbol: str
    cik: int
    name: str
    exchange: str
    sic: str
    industry: str
    fiscal_year_end: str


@dataclass(frozen=True, eq=False)
class Company:
    """A company with everything it ever files, oldest first; what is filed after a day is not shown on it."""

    profile: Profile
    filings: tuple[Filing, ...]
    facts: tuple[Fact, ...]
