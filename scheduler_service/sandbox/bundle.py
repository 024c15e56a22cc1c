"""The bundled data set, one JSON file per company: recorded filings and facts, or invented quarters to expand."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from scheduler_service.sandbox.company import Company, Fact, Filing, Profile
from scheduler_service.sandbox.fiction import Quarter, expand

if TYPE_CHECKING:
    from collections.abc import Mapping


TEMPLATE = "ACMEX.json"
FIRST_CIK = 9_991_000_001
"""The first of the stand-ins; EDGAR itself is far from such numbers."""
SEASON = 22
"""Days over which the stand-ins spread their results, as a season of earnings does."""


def bundled_symbols() -> tuple[str, ...]:
    """Whom the sandbox knows. Reads none of them."""
    names = (entry.name for entry in (files("scheduler_service.sandbox") / "data").iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


@cache
def bundled() -> tuple[Company, ...]:
    """Every bundled company, by symbol."""
    folder = files("scheduler_service.sandbox") / "data"
    texts = {
        entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".json")
    }
    return tuple(parse(texts[name]) for name in sorted(texts))


def with_stand_ins(names: Mapping[str, str]) -> tuple[Company, ...]:
    """The bundled companies, and an invented one for each other symbol. ``names``: symbol to a company's name."""
    known = {company.profile.symbol for company in bundled()}
    invented = [
        _renamed(symbol, name, FIRST_CIK + number)
        for number, (symbol, name) in enumerate(sorted(names.items()))
        if symbol not in known
    ]
    return (*bundled(), *invented)


def _renamed(symbol: str, name: str, cik: int) -> Company:
    """The figures of the invented company that all stand-ins are copies of, under another name, and told on days of its
    own.
    """
    raw = json.loads((files("scheduler_service.sandbox") / "data" / TEMPLATE).read_text(encoding="utf-8"))
    sooner = hashlib.sha256(symbol.encode()).digest()[0] % SEASON
    return _fictional({**raw, "symbol": symbol, "name": name, "cik": cik}, sooner)


def parse(text: str) -> Company:
    """One file of the data set."""
    raw = json.loads(text)
    return _fictional(raw) if "quarters" in raw else _recorded(raw)


def _profile(raw: Mapping[str, Any]) -> Profile:
    return Profile(
        symbol=raw["symbol"],
        cik=raw["cik"],
        name=raw["name"],
        exchange=raw["exchange"],
        sic=raw["sic"],
        industry=raw["industry"],
        fiscal_year_end=raw["fiscal_year_end"],
    )


def _recorded(raw: Mapping[str, Any]) -> Company:
    filings = (Filing(**dict(zip(raw["filing_columns"], row, strict=True))) for row in raw["filings"])
    facts = (
        Fact(tag=series["tag"], unit=series["unit"], **dict(zip(raw["fact_columns"], row, strict=True)))
        for series in raw["facts"]
        for row in series["rows"]
    )
    return Company(_profile(raw), tuple(sorted(filings, key=lambda f: f.filed)), tuple(facts))


def _fictional(raw: Mapping[str, Any], sooner: int = 0) -> Company:
    quarters = []
    for row in raw["quarters"]:
        figures = dict(zip(raw["quarter_columns"], row, strict=True))
        when = {name: figures.pop(name) for name in ("year", "quarter", "start", "end")}
        quarters.append(Quarter(**when, figures=figures))
    return expand(_profile(raw), raw["tags"], quarters, sooner)
