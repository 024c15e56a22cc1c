"""What models write in words: figures with units and currencies, and text with markdown and citation marks."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from scheduler_service.parsers.unseen import CONTROLS, INVISIBLE

LARGEST_AMOUNT = Decimal(10) ** 18

_MOST_DIGITS = 25
_UNITS = {"": 0, "k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6}
_UNITS |= {"b": 9, "bn": 9, "billion": 9, "t": 12, "trillion": 12, "%": -2}
# As they are written: GBp is a penny.
_CURRENCY = r"(?:US\$|[$€£¥]|USD|EUR|GBP|JPY)"
_SIGN = re.compile(r"US\$|[$€£¥]|USD|EUR|GBP|JPY")
_CURRENCIES = {
    "US$": {"USD"},
    "USD": {"USD"},
    "€": {"EUR"},
    "EUR": {"EUR"},
    "£": {"GBP", "EGP"},
    "GBP": {"GBP"},
    "¥": {"JPY", "CNY"},
    "JPY": {"JPY"},
    "$": {"USD", "AUD", "CAD", "NZD", "HKD", "SGD", "TWD", "MXN", "ARS", "CLP", "COP", "BRL"},
}
"""Which currencies a sign may stand for: the dollar is many countries'."""
_PER_SHARE_IN_CENTS = frozenset({"AUD", "GBP", "HKD", "ILS", "KWD", "MYR", "NZD", "SGD", "ZAR"})
"""Where companies tell earnings per share in pence, cents, sen or fils: a bare number may be of a hundredth."""
_AMOUNT = re.compile(
    rf"(?P<minus>[+-]?)(?:{_CURRENCY}\s*(?P<sign>[+-]?))?"
    r"(?P<number>[0-9]+(?:[.,][0-9]+)*|[.][0-9]+)(?P<power>[Ee][+-]?[0-9]{1,2})?"
    rf"\s*(?P<unit>(?i:thousand|million|billion|trillion|mn|bn|[kmbt%])|)\s*{_CURRENCY}?",
    re.ASCII,
)
_LONGEST_AMOUNT = 60
_EITHER_WAY = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
"""One point or comma before three digits: 1.234 is a fraction to some and a thousand to others."""
_ENGLISH = re.compile(r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)(?:[.][0-9]+)?")
_CONTINENTAL = re.compile(r"(?:[1-9][0-9]{0,2}(?:[.][0-9]{3})+|[0-9]+),[0-9]{1,2}|[1-9][0-9]{0,2}(?:[.][0-9]{3}){2,}")
_TYPOGRAPHY = str.maketrans({"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " "})

_LONGEST_PLAIN = 50_000
_CITATION = re.compile(r"\s?\^?\[\d{1,3}(?:\s?,\s?\d{1,3}){0,20}\](?:\([^()\s]{0,2000}\))?\^?")
_FENCE_LINE = re.compile(r"^[ \t]{0,3}```[\w-]{0,20}[ \t]*$", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?)", re.MULTILINE)
_BULLET = re.compile(r"^([ \t]*)[*+•](?=[ \t])", re.MULTILINE)
_SPANS = (
    re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,2000}(?:[ ]\"[^\"]{0,300}\")?\)"),
    re.compile(r"`([^`\n]{1,500})`"),
    re.compile(r"\*\*(?=[^\s*])([^\n]{1,500}?)(?<=[^\s*])\*\*"),
    re.compile(r"(?<!\w)__(?=[^\s_])([^\n]{1,500}?)(?<=[^\s_])__(?!\w)"),
    re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,500})(?<=\S)\*(?![\w*])"),
    re.compile(r"(?<![\w_])_(?=[^\s_])([^_\n]{1,500})(?<=\S)_(?![\w_])"),
)


def plain(text: str) -> str:
    """The text on one line, without citation marks (``[7]``, ``^[6]^``), markdown and characters nobody sees.

    What only might be markdown stays: ``a*b``, ``snake_case``, ``2 * 3``. At most 50,000 characters are read.
    """
    bare = _CITATION.sub("", INVISIBLE.sub("", text[:_LONGEST_PLAIN]))
    for mark in (_FENCE_LINE, _LINE_MARK):
        bare = mark.sub("", bare)
    bare = _BULLET.sub(r"\1-", bare)
    for span in _SPANS:
        bare = span.sub(r"\1", bare)
    return " ".join(CONTROLS.sub(" ", bare).split())


def as_amount(value: Any) -> Decimal | None:
    """A figure as a model writes it, in full units: ``"$3.4 billion"``, ``"12%"`` as 0.12, ``"(1.3)"`` as -1.3,
    ``"1,234.5"``, ``"€12,5"``. None for whatever leaves a doubt, and for 10^18 and more; never raises.
    """
    if isinstance(value, str):
        return _written_amount(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value) if abs(value) < LARGEST_AMOUNT else None
    if isinstance(value, float | Decimal):
        number = Decimal(str(value))
        return number if number.is_finite() and number.copy_abs() < LARGEST_AMOUNT else None
    return None


def as_money(value: Any, currency: str | None) -> Decimal | None:
    """A figure as ``as_amount`` reads it, where it is not a share of something nor written in another currency."""
    if isinstance(value, str):
        signs = set(_SIGN.findall(value))
        if "%" in value or any(currency not in _CURRENCIES[sign] for sign in signs):
            return None
    return as_amount(value)


def as_per_share(value: Any, currency: str | None) -> Decimal | None:
    """An amount for each share: never so many thousands, and none of a currency in which cents are as likely, unless
    it is written with its sign.
    """
    written = value if isinstance(value, str) else ""
    if currency in _PER_SHARE_IN_CENTS and not _SIGN.search(written):
        return None
    # After the sign of a currency no letter is left in a plain figure.
    if any(letter.isalpha() for letter in _SIGN.sub("", written)):
        return None
    return as_money(value, currency)


def _written_amount(written: str) -> Decimal | None:
    if len(written) > _LONGEST_AMOUNT:
        return None
    text = written.translate(_TYPOGRAPHY).strip()
    in_brackets = text.startswith("(") and text.endswith(")")
    match = _AMOUNT.fullmatch(text[1:-1].strip() if in_brackets else text)
    digits = _digits(match["number"]) if match else None
    if match is None or digits is None or len(digits) > _MOST_DIGITS or (match["power"] and match["unit"]):
        return None
    if not match["unit"] and not match["power"] and _EITHER_WAY.fullmatch(match["number"]):
        return None
    signs = match["minus"] + (match["sign"] or "")
    if len(signs) + in_brackets > 1:
        return None
    amount = Decimal(digits + (match["power"] or "")).scaleb(_UNITS[match["unit"].lower()])
    if amount.copy_abs() >= LARGEST_AMOUNT:
        return None
    return amount.copy_negate() if in_brackets or signs == "-" else amount


def _digits(number: str) -> str | None:
    """Digits with a decimal point, whichever way the number was grouped; None where both ways are possible."""
    if _ENGLISH.fullmatch(number):
        return number.replace(",", "")
    return number.replace(".", "").replace(",", ".") if _CONTINENTAL.fullmatch(number) else None
