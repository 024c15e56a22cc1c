"""Values of strangers' JSON, taken apart gently: each reader turns one into a type, or into None or something empty
where it is not one. A row that makes no sense is left out by its parser, never its end.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

_MOST_DIGITS = 30
_LARGEST = Decimal(10) ** 18
"""No amount is as large, and several of them together can still be written as an integer of 64 bits."""
_YEARS = range(1900, 2200)


def as_object(value: Any) -> dict[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The array, or an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The text without blanks around it, or an empty one."""
    return value.strip() if isinstance(value, str) else ""


def as_int(value: Any) -> int | None:
    """A whole number, also one written as text (``"0000320193"``)."""
    if isinstance(value, str) and len(value) <= _MOST_DIGITS and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_number(value: Any) -> Decimal | None:
    """A number exactly as it was written (7.46 is 7.46); None where no amount is as large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = Decimal(str(value))
    return number if abs(number) < _LARGEST else None


def as_date(value: Any) -> date | None:
    """A date written ``YYYY-MM-DD``, in a year a company can have lived in."""
    if not isinstance(value, str) or len(value) != len("YYYY-MM-DD") or "W" in value:  # 2025-W01-1 names a week
        return None
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    return day if day.year in _YEARS else None
