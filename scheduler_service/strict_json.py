"""JSON from strangers, as RFC 8259 has it and nothing else, and not too much of it. What cannot be read is a
``ParseError(UNREADABLE)``, whatever it is.

Refused besides what is no JSON: NaN and numbers that become infinite, whole numbers of endless digits, a key that comes
twice in an object, halves of a character, deep nesting, any encoding but UTF-8 (a byte order mark is forgiven), and
more values than such a body has room for that says something.

Objects and numbers are made one at a time in Python, so that other threads get their turn during a large body.
"""

from __future__ import annotations

import codecs
import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

Keys: TypeAlias = tuple[str, ...]

DEEPEST = 32
MOST_DIGITS = 25
MOST_VALUES = 100_000
LEAST_BYTES_PER_VALUE = 8
"""Of a body with more than ``MOST_VALUES``; EDGAR's need sixteen."""

_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_BLANKS = re.compile(r"[ \t\n\r]*+")
_SLICE = 1 << 16


def load(body: bytes) -> Any:
    """The JSON value."""
    sound = _sound(body)
    try:
        return read(sound.decode())
    except ValueError as error:
        raise _not_json(error) from None


def load_object(body: bytes) -> dict[str, Any]:
    """The JSON object; ``ParseError(UNREADABLE)`` for any other value too."""
    value = load(body)
    if not isinstance(value, dict):
        raise ParseError(f"the answer is a JSON {_name(value)}, not an object", Reason.UNREADABLE)
    return value


def members(body: bytes, levels: int, wanted: Callable[[Keys], bool]) -> Iterator[tuple[Keys, Any]]:
    """The wanted values of a large JSON object, each with the keys that lead to it: what stands ``levels`` deep, and
    above that what is no object, or an empty one. Only one of them need be in memory. The others are checked as well,
    the last of them when the last value has been taken.
    """
    sound = _sound(body)
    try:
        _check_utf8(sound)
        # A character for a byte, whatever stands there: a place in one is the place in the other, and of its size.
        end = yield from _members(sound.decode("latin-1"), sound, 0, (), levels, wanted)
        if end != len(sound):
            raise ValueError(f"there is more after its end, at byte {end}")
    except (ValueError, IndexError, RecursionError) as error:
        raise _not_json(error) from None


def read(text: str) -> Any:
    """The JSON value of a text; ``ValueError`` for what is not."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _HALF_A_CHARACTER.search(text):
        orjson.loads(text)  # pairs are fine, and it knows them; its refusal is a ValueError too
    _check_depth(value)
    return value


def _members(
    text: str, body: bytes, at: int, above: Keys, levels: int, wanted: Callable[[Keys], bool]
) -> Generator[tuple[Keys, Any], None, int]:
    """Of the object that begins at ``at``; returns where it has ended."""
    if text[at] != "{":
        raise ValueError(f"there is no object at byte {at}")
    seen: set[str] = set()
    at = _past(text, at + 1)
    while text[at] != "}" or seen:
        key, at = _key(text, body, at)
        if key in seen:
            raise ValueError(f"a key comes twice, before byte {at}")
        seen.add(key)
        keys, at = (*above, key), _past(text, at, ":")
        if len(keys) < levels and text[at] == "{" and text[_past(text, at + 1)] != "}":
            at = yield from _members(text, body, at, keys, levels, wanted)
        else:
            start, (_, at) = at, _DECODER.raw_decode(text, at)
            if wanted(keys):
                yield keys, read(body[start:at].decode())
        at = _past(text, at)
        if text[at] == "}":
            break
        at = _past(text, at, ",")
    return at + 1


def _key(text: str, body: bytes, at: int) -> tuple[str, int]:
    if text[at] != '"':
        raise ValueError(f"there is no key at byte {at}")
    key, end = _DECODER.raw_decode(text, at)
    return (key if key.isascii() else read(body[at:end].decode())), end


def _past(text: str, at: int, sign: str = "") -> int:
    """The place after this sign and the blanks around it."""
    at = _after_blanks(text, at)
    if not sign:
        return at
    if text[at] != sign:
        raise ValueError(f"there is no {sign} at byte {at}")
    return _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _sound(body: bytes) -> bytes:
    """The text's bytes, without what may stand around it."""
    for mark, encoding in _ENCODINGS.items():
        if body.startswith(mark):
            raise ParseError(f"the answer is {encoding}, and JSON is UTF-8", Reason.UNREADABLE)
    text = body.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n")
    if not text:
        raise ParseError("the answer is empty, not JSON", Reason.UNREADABLE)
    if text[:1] == b"<":
        kind = "an HTML page" if b"<html" in text[:2_000].lower() else "HTML or XML"
        raise ParseError(f"the answer looks like {kind}, not JSON", Reason.UNREADABLE)
    values = text.count(b",") + text.count(b"[") + text.count(b"{")
    if values > max(MOST_VALUES, len(text) // LEAST_BYTES_PER_VALUE):
        raise ParseError("the answer is not JSON but a heap of commas and brackets", Reason.UNREADABLE)
    return text


def _check_utf8(body: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _SLICE):
        decoder.decode(body[start : start + _SLICE])
    decoder.decode(b"", True)


def _check_depth(value: Any) -> None:
    layer, depth = [value], 0
    while layer:
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        layer = [inner for outer in layer for inner in _inside(outer)]
        depth += 1


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key comes twice in an object")
    return fields


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number has too many digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is beyond all measure")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _not_json(error: Exception) -> ParseError:
    match error:
        case UnicodeDecodeError():
            why = f"it is not UTF-8 at byte {error.start}"
        case RecursionError():
            why = "it is nested too deeply"
        case IndexError():
            why = "it breaks off before its end"
        case _:
            why = str(error)
    return ParseError(f"the answer is not JSON: {why}", Reason.UNREADABLE)


def _name(value: Any) -> str:
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant
)
