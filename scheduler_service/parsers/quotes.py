"""The quotes domain: what a share costs, and since when. Pure.

What cannot be a price is a ``ParseError``; what can, but hardly after what was said before, is up to ``doubt_quote``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import Field

from scheduler_service.clock import CLOCKS_DIFFER, SECOND, from_iso, to_iso, to_iso_seconds, utc_day
from scheduler_service.errors import ParseError
from scheduler_service.models import Contribution, Number, Provenance, Reason, Record
from scheduler_service.parsers.doubt import together
from scheduler_service.parsers.json_values import as_int, as_number, as_text
from scheduler_service.strict_json import load_object

if TYPE_CHECKING:
    from scheduler_service.clock import Instant

HIGHEST_PRICE = Decimal(10) ** 8
LOWEST_PRICE = Decimal(1) / 10**6
MOST_DIGITS = 15
"""So many a JSON number keeps as they are, whoever reads it."""
MOST_IN_A_DAY = 20
"""No price is so many times its previous close, or the other way round: it is in other units."""
LEAP = 2
MOST_SPLIT = 60
"""A share is split into at most so many, or so many become one: overnight, and the previous close is told anew."""
_MILLIONTH = Decimal("0.000001")
_PLAIN = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_A_TIME: dict[str, Any] = {"format": "date-time", "pattern": "Z$"}


class QuotesData(Record):
    """A share's last price and the close of the session before it, in full units of ``currency`` (ISO 4217, or
    ``GBX`` for pence; null where nobody says it). ``as_of``: when that was its price. ``change`` is from the previous
    close on, ``change_ratio`` the same as a fraction of it: 0.0125 is 1.25 %.
    """

    price: Number
    previous_close: Number | None = None
    currency: str | None = None
    as_of: str = Field(json_schema_extra=_A_TIME)
    change: Number | None = None
    change_ratio: Number | None = None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Quoted:
    """What an upstream says. ``at``: when that was the price."""

    price: Decimal
    previous_close: Decimal | None
    currency: str | None
    at: Instant


def read_finnhub(body: bytes) -> Quoted:
    """The answer of Finnhub's ``/quote`` (https://finnhub.io/docs/api/quote): ``c`` is the price, ``pc`` the previous
    close, ``t`` the time in seconds. Of a symbol that it does not know, everything is 0. It names no currency.
    """
    said = load_object(body)
    price, seconds = as_number(said.get("c")), as_int(said.get("t"))
    if price is None or seconds is None:
        raise ParseError("the answer is no quote: it lacks c (the price) or t (its time)", Reason.UNREADABLE)
    if seconds == 0:
        raise ParseError("it has no quote of this symbol", Reason.UNKNOWN_SYMBOL)
    at = time_of(seconds)
    if at is None:
        raise ParseError(f"the time of the quote is {seconds}, which is none", Reason.UNREADABLE)
    return Quoted(price, as_number(said.get("pc")) or None, None, at)


def number_of(value: Any) -> Decimal | None:
    """A number exactly as it was written, also as text in plain digits."""
    if isinstance(value, str):
        text = value.strip()
        return Decimal(text) if _PLAIN.fullmatch(text) else None
    return as_number(value)


def time_of(value: Any) -> Instant | None:
    """ISO-8601 with its zone, or seconds or milliseconds since 1970; a time without a zone is none."""
    number = number_of(value)
    if number is not None:
        seconds = number / 1_000 if number >= 10**11 else number
        return int(seconds * SECOND) if 10**8 <= seconds < 10**10 else None
    try:
        at = from_iso(as_text(value))
    except (ValueError, OverflowError):
        return None
    return at if 10**8 * SECOND <= at < 10**10 * SECOND else None


def wrong_price(price: Decimal) -> str | None:
    """Why this is no price of a share, in words; None where it may be one."""
    if price <= 0:
        return f"is {price:f}, and shares are not for nothing"
    if not LOWEST_PRICE <= price <= HIGHEST_PRICE:
        return f"is {price:f}, which no share costs"
    digits = len(price.normalize().as_tuple().digits)
    return f"has {digits} digits, more than a price has" if digits > MOST_DIGITS else None


def wrong_quote(quoted: Quoted) -> str | None:
    """What is wrong with a quote, whenever it is read; None where nothing is."""
    before = quoted.previous_close
    for name, price in (("price", quoted.price), ("previous close", before)):
        if price is not None and (wrong := wrong_price(price)) is not None:
            return f"the {name} {wrong}"
    if before is not None and _times(quoted.price, before) > MOST_IN_A_DAY:
        return f"the price is {quoted.price:f} and the previous close {before:f}: one of them is in other units"
    return None


def quotes_of(quoted: Quoted, provenance: Provenance, fetched_at: Instant) -> QuotesData:
    """The document's data. ``ParseError`` where it is wrong, or of the future."""
    if (wrong := wrong_quote(quoted)) is not None:
        raise ParseError(f"this is no quote: {wrong}", Reason.NO_DATA)
    if quoted.at > fetched_at + CLOCKS_DIFFER:
        raise ParseError(
            f"this is no quote: its time is {to_iso_seconds(quoted.at)}, which has not come yet", Reason.NO_DATA
        )
    change = ratio = None
    if quoted.previous_close is not None:
        change = quoted.price - quoted.previous_close
        ratio = (change / quoted.previous_close).quantize(_MILLIONTH)
    return QuotesData(
        price=quoted.price,
        previous_close=quoted.previous_close,
        currency=quoted.currency,
        as_of=to_iso(quoted.at),
        change=change,
        change_ratio=ratio,
        provenance=provenance,
    )


def merge_quotes(contributions: Sequence[Contribution[QuotesData]]) -> QuotesData:
    """The newest; of equally new ones the best source's."""
    return max((contribution.data for contribution in contributions), key=lambda data: from_iso(data.as_of))


def doubt_quote(before: QuotesData, now: QuotesData) -> str | None:
    """What speaks against a quote, given the one before it."""
    return together(_grew_old(before, now), _other_currency(before, now), _leapt(before, now))


def _grew_old(before: QuotesData, now: QuotesData) -> str | None:
    if from_iso(now.as_of) >= from_iso(before.as_of) or _was_ahead(before, now):
        return None
    return f"it is the price of {now.as_of}, and one of {before.as_of} is known"


def _was_ahead(before: QuotesData, now: QuotesData) -> bool:
    """Whether the one before was fetched by a clock that was wrong: later than this one."""
    return from_iso(before.provenance.fetched_at) > from_iso(now.provenance.fetched_at)


def _other_currency(before: QuotesData, now: QuotesData) -> str | None:
    if before.currency is None or now.currency in (before.currency, None):
        return None
    return f"its currency is {now.currency}, and was {before.currency}"


def _leapt(before: QuotesData, now: QuotesData) -> str | None:
    """Twice as much or half as little, unless the share was split meanwhile: then the previous close is another too."""
    if _times(now.price, before.price) < LEAP:
        return None
    told_anew = now.previous_close is not None and _times(now.price, now.previous_close) < LEAP
    overnight = utc_day(from_iso(now.as_of)) > utc_day(from_iso(before.as_of))
    if told_anew and overnight and _times(now.price, before.price) <= MOST_SPLIT:
        return None
    return f"its price is {now.price:f}, and was {before.price:f}"


def _times(one: Decimal, other: Decimal) -> Decimal:
    """How many times the smaller the larger is."""
    return max(one, other) / min(one, other)
