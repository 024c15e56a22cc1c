"""Durations, sizes and shares as people write them: ``30m``, ``500MB``, ``20%``.

Only text is accepted: a bare number does not say what it counts. Inside they are plain numbers (microseconds, bytes,
a fraction); JSON shows them as text again.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from scheduler_service.clock import DAY, MILLISECOND, Micros
from scheduler_service.durations import DURATION_UNITS

Bytes: TypeAlias = int

_SIZE_UNITS = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1}
_SIZES_BY_LOWER_CASE = {unit.lower(): unit for unit in _SIZE_UNITS}
_LONGEST = 36_500 * DAY
_LARGEST = 10**18
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,2})")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")


def parse_duration(text: object) -> Micros:
    """``250ms 30s 5m 2h 7d`` to microseconds. Raises ``ValueError``."""
    match = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    unit = DURATION_UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError(
            f"{shown(text)} is not a duration; write a number and a unit, such as 250ms, 30s, 5m, 2h or 7d"
        )
    micros = Decimal(match[1]) * unit
    if micros > _LONGEST or micros != micros.to_integral_value():
        raise ValueError(
            f"{shown(text)} is out of range; a duration is at most 36500d, and at least a microsecond or 0s"
        )
    return int(micros)


def parse_size(text: object) -> Bytes:
    """``500MB 2GB`` to bytes, in thousands as disks are sold. Raises ``ValueError``."""
    match = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    unit = _SIZE_UNITS.get(_SIZES_BY_LOWER_CASE.get(match[2].lower(), "")) if match else None
    if match is None or unit is None:
        raise ValueError(f"{shown(text)} is not a size; write a number and a unit, such as 64KB, 500MB or 2GB")
    size = Decimal(match[1]) * unit
    if size > _LARGEST or size != size.to_integral_value():
        raise ValueError(f"{shown(text)} is out of range; a size is a whole number of bytes, at most 1000000TB")
    return int(size)


def parse_share(text: object) -> float:
    """``20%`` to ``0.2``. Raises ``ValueError``."""
    match = _SHARE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or Decimal(match[1]) > 100:
        raise ValueError(f"{shown(text)} is not a share; write a percentage from 0% to 100%, such as 20%")
    return float(Decimal(match[1]) / 100)


def format_duration(micros: Micros) -> str:
    """``30m``: in the largest unit that leaves no fraction."""
    for unit, size in DURATION_UNITS.items():
        if micros and micros % size == 0:
            return f"{micros // size}{unit}"
    return f"{_plain(Decimal(micros) / MILLISECOND)}ms" if micros else "0s"


def format_size(size: Bytes) -> str:
    """``500MB``: in the largest unit that leaves no fraction."""
    for unit, factor in _SIZE_UNITS.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0B"


def format_share(share: float) -> str:
    """``20%``."""
    return f"{_plain(Decimal(str(share)) * 100)}%"


def format_usd(usd: float) -> str:
    """``$0.12``, and ``$0.0012`` where cents would say nothing."""
    return f"${usd:,.4f}" if 0 < usd < 0.01 else f"${usd:,.2f}"


def shown(value: object) -> str:
    """A value as a message quotes it: short, and with control characters escaped."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["250ms", "30s", "5m", "2h", "7d"]}),
]
"""Microseconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["500MB", "2GB"]}),
]
"""Bytes."""

Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(format_share, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["20%"]}),
]
"""A fraction from 0 to 1."""
