"""Finnhub's ``/quote``, and the file of prices that another program would write, of the bundled companies."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import orjson

from scheduler_service.clock import SECOND, to_iso
from scheduler_service.sandbox.prices import price_at
from scheduler_service.sandbox.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler_service.clock import Instant
    from scheduler_service.market_calendar import Calendar
    from scheduler_service.sandbox.company import Company

    Pairs = Sequence[tuple[Company, Company]]

API = "/api/v1/"
FILE = "/quotes.csv"
EXCHANGE = "XNYS"
"""Where all bundled companies are traded."""
_NOTHING = {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0}
_HEAD = "symbol,price,previous_close,currency,time"


def token(headers: Mapping[str, str]) -> str:
    """The key a request carries, empty where it carries none; ``headers`` in lower case."""
    return headers.get("x-finnhub-token", "").strip()


def answer(
    url: str, headers: Mapping[str, str], companies: Pairs, calendar: Calendar, now: Instant, seed: int
) -> Reply:
    """The reply of the instant ``now``."""
    parts = urlsplit(url)
    if parts.path != f"{API}quote":
        return Reply(302, {"location": "/", "content-type": "text/html"})
    if not token(headers):
        return _json(401, {"error": "Please use an API key."})
    symbol = parse_qs(parts.query).get("symbol", [""])[0].upper()
    company = next((served for asked, served in companies if asked.profile.symbol == symbol), None)
    if company is None:
        return _json(200, _NOTHING)
    price = price_at(company.profile.symbol, now, calendar, seed)
    change = price.now - price.previous_close
    said = {
        "c": price.now,
        "d": round(change, 2),
        "dp": round(change / price.previous_close * 100, 4),
        "h": price.high,
        "l": price.low,
        "o": price.open,
        "pc": price.previous_close,
        "t": price.at // SECOND,
    }
    return _json(200, said)


def file(companies: Iterable[tuple[Company, Company]], calendar: Calendar, now: Instant, seed: int) -> Reply:
    """The prices of all companies as CSV."""
    lines = [_HEAD]
    for asked, served in companies:
        price = price_at(served.profile.symbol, now, calendar, seed)
        lines.append(f"{asked.profile.symbol},{price.now},{price.previous_close},USD,{to_iso(price.at)}")
    return Reply(200, {"content-type": "text/csv; charset=utf-8"}, ("\n".join(lines) + "\n").encode())


def _json(status: int, said: object) -> Reply:
    return Reply(status, {"content-type": "application/json; charset=utf-8"}, orjson.dumps(said))
