"""The encoding of text that does not say it, or says it wrongly: only where the text itself proves it.

A wrong guess reads as well as a right one to a program, so whatever fits nothing clearly fits nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH: Final = 12
"""Letters beyond ASCII; of fewer, several alphabets may be true."""
SAMPLE: Final = 100_000
"""Characters from the first beyond ASCII on that are looked at: what they do not prove, millions do not."""
HIGH: Final = re.compile(r"[^\x00-\x7f]+")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_MARKS = "\u00a0«»„“”‘’–—…·•№§©®™€£°"
_WESTERN = re.compile(r"[àáâãäåæçèéêëìíîïñòóôõöøùúûüßœÀÁÂÄÅÆÇÈÉÊËÍÎÑÓÔÖØÙÚÜŒ]{1,2}|[" + _MARKS + r"¡¿´]{1,3}")
_INSIDE = re.compile(r"(?<=[a-z])[¡¿´«»°§©®€£](?=[a-z])")
_MOST_WESTERN = 0.2
"""Of the letters of a Western European text, so many at most are beyond ASCII."""
_CYRILLIC = re.compile(r"([А-ЯЁІЇЄҐ])?[а-яёіїєґ]+|[А-ЯЁІЇЄҐ]+")
_GREEK = re.compile(r"([Α-ΩΆΈΉΊΌΎΏ])?[α-ωάέήίόύώϊϋΐΰς]+|[Α-ΩΆΈΉΊΌΎΏ]+")
_HEBREW = re.compile(r"[א-ת]+")


def guess_encoding(body: bytes) -> str | None:
    """Of bytes that are not UTF-8; tags count for nothing."""
    fitting = [encoding for encoding, fits in _TESTS.items() if _reads(body, encoding, fits)]
    return fitting[0] if len(fitting) == 1 else None


def _reads(body: bytes, encoding: str, fits: Callable[[str], bool]) -> bool:
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        return False
    first = HIGH.search(text)
    start = max(0, first.start() - SAMPLE // 10) if first else 0
    return fits(_TAG.sub("\n", text[start : start + SAMPLE]))


def _is_western(text: str) -> bool:
    """Single letters beyond ASCII among many that are not, and marks where marks stand."""
    runs = HIGH.findall(text)
    letters = sum(c.isalpha() for c in text)
    high = sum(c.isalpha() for run in runs for c in run)
    return all(map(_WESTERN.fullmatch, runs)) and high <= _MOST_WESTERN * letters and not _INSIDE.search(text)


def _words_of(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    """Nothing but words, and some that begin with a capital where there are capitals: read in another alphabet they
    stand inside words, or nowhere.
    """

    def fits(text: str) -> bool:
        runs = [part for run in HIGH.findall(text) for part in re.split(f"[{_MARKS}]", run) if part]
        words = [pattern.fullmatch(run) for run in runs]
        begun = not pattern.groups or any(word and word[1] for word in words)
        return sum(map(len, runs)) >= ENOUGH and begun and all(words)

    return fits


def _share(text: str, is_one: Callable[[str], bool]) -> float:
    """How many of the characters beyond ASCII are such; none of too few."""
    high = "".join(HIGH.findall(text))
    return sum(map(is_one, high)) / len(high) if len(high) >= ENOUGH else 0.0


def _is_kana(c: str) -> bool:
    return "\u3041" <= c <= "\u30fc"


def _lead(encoding: str, first: int, last: int) -> Callable[[str], bool]:
    def is_one(c: str) -> bool:
        try:
            code = c.encode(encoding)
        except UnicodeEncodeError:
            return False
        return len(code) > 1 and first <= code[0] <= last

    return is_one


_IN_HANGUL = _lead("euc_kr", 0xB0, 0xC8)
_IN_HANJA = _lead("euc_kr", 0xC9, 0xFE)
_IN_COMMON_CHINESE = _lead("gb2312", 0xA1, 0xD7)
_IN_LATER_CHINESE = _lead("gb2312", 0xC9, 0xD7)
_IN_COMMON_BIG5 = _lead("big5", 0xA1, 0xC6)


def _is_japanese(text: str) -> bool:
    return _share(text, _is_kana) > 0.2 and not re.search(r"[\uff61-\uff9f]", text)


def _is_korean(text: str) -> bool:
    """Chinese read so holds syllables too, and as many signs."""
    return _share(text, _IN_HANGUL) > 0.8 and _share(text, _IN_HANJA) < 0.05


def _is_chinese(text: str) -> bool:
    """Korean read so holds none of the later half of the common signs; Japanese its own letters."""
    common, later = _share(text, _IN_COMMON_CHINESE), _share(text, _IN_LATER_CHINESE)
    return common > 0.95 and later > 0.15 and _share(text, _is_kana) < 0.05


def _is_taiwanese(text: str) -> bool:
    """Half of the second bytes of Big5 are ASCII, of the others' hardly any."""
    low = sum(len(code) == 2 and code[1] < 0x80 for code in (c.encode("big5", "replace") for c in text))
    high = len("".join(HIGH.findall(text)))
    return _share(text, _IN_COMMON_BIG5) > 0.95 and low > 0.2 * high


_TESTS: dict[str, Callable[[str], bool]] = {
    "windows-1252": _is_western,
    "windows-1251": _words_of(_CYRILLIC),
    "koi8-r": _words_of(_CYRILLIC),
    "windows-1253": _words_of(_GREEK),
    "windows-1255": _words_of(_HEBREW),
    "shift_jis": _is_japanese,
    "euc_jp": _is_japanese,
    "euc_kr": _is_korean,
    "gb18030": _is_chinese,
    "big5": _is_taiwanese,
}
