"""A feed's bytes to text that is safe to take apart: whole, declaring nothing, and no more markup than a feed has.

The reader of feeds forgives a lot and pays for it: half a kilobyte for a nested tag, the square of a tag's attributes,
a tag's blanks a hundredfold. What makes it do so is refused here, before it sees anything.
"""

from __future__ import annotations

import codecs
import re
import sys
from typing import TYPE_CHECKING

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.charsets import guess_encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_MARKUP = 20_000
"""Tags, comments and the like; a feed of five hundred stories has some ten thousand."""
MOST_OPEN = 1_000
"""Elements open at once. A feed has ten; where somebody forgot to escape HTML, its loose ends come on top."""
LONGEST_TAG = 2_000
"""Characters, of which a quoted value counts as one."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    "<".encode("utf-16-le"): "utf-16-le",
    "<".encode("utf-16-be"): "utf-16-be",
    "<".encode("utf-32-le"): "utf-32-le",
    "<".encode("utf-32-be"): "utf-32-be",
}
"""How a body begins that says its encoding by that (XML 1.0, appendix F); the longer marks of two alike come first."""
_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_ENCODINGS = {
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin-1", "latin1", "us-ascii"), "windows-1252"),
    **dict.fromkeys(("shift_jis", "x-sjis", "windows-31j"), "cp932"),
    **{"euc-kr": "cp949", "euc_kr": "cp949", "ascii": "windows-1252", "tis-620": "cp874", "utf-16": "utf-8"},
}
"""Those that are more often declared than meant, and what includes them."""
_MERELY_SAID = ("utf-8", "utf8", "windows-1252")
_MANY_BYTES = re.compile(r"gb|big5|cp9|euc|shift")
_SHIFTED = b"\x1b$"
"""How a text in ISO-2022 leaves ASCII."""
_PLAIN = re.compile(
    r"utf-?8|utf-16|(?:us-)?ascii|tis-620|x-sjis|windows-31j|iso-?8859-?\d{1,2}|latin-?1|windows-?125\d|cp125\d|gb2312|gbk|gb18030|big5|shift_jis|euc[-_](?:jp|kr)|koi8-[ru]",
    re.I,
)
"""Encodings in which a tag is a tag, in ASCII: what hides one (UTF-7, EBCDIC, escape sequences) is no feed's. UTF-16
is told by its first bytes; what only declares it was written as something else by a program that thinks in it.
"""
_FEWEST_OF_THREE_BYTES = 3
"""So many characters that are three bytes of UTF-8 are no accident of another encoding."""
_HARMLESS_DOCTYPE = re.compile(
    r"(\s*(?:<\?[^<>]{0,1000}\?>\s*|<!--(?:(?!--).){0,5000}-->\s*){0,20})<!DOCTYPE\s[^<>\[\]]{0,1000}>",
    re.IGNORECASE | re.DOTALL,
)
"""One that names a DTD, as RSS 0.91 does, and declares nothing itself. Nobody reads what it names."""
_QUOTED, _END_OF_QUOTED = "<![CDATA[", "]]>"
_DECLARATION = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_LONG_TAG = re.compile(rf"<[A-Za-z/?](?>\"[^\"<]*+\"|'[^'<]*+'|[^<>]){{{LONGEST_TAG}}}")
_TAG = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<(/?)[A-Za-z](?>\"[^\"<]*+\"|'[^'<]*+'|[^<>\"'])*+>", re.DOTALL
)
_REFERENCE = re.compile(r"&#([xX][0-9a-fA-F]{1,16}|[0-9]{1,16});")
_ROOT = re.compile(r"<((?:\w+:)?(?:rss|feed|rdf|channel))\b", re.IGNORECASE)
_STORY = re.compile(r"<(?:\w+:)?(?:item|entry)\b")


def feed_text(body: bytes) -> str:
    """The text of a feed. ``ParseError``: UNREADABLE, or TRUNCATED for one that breaks off before its end."""
    text = _decoded(body)
    if (named := _HARMLESS_DOCTYPE.match(text)) is not None:
        text = named[1] + text[named.end() :]
    if _DECLARATION.search("".join(_unquoted(text))):
        raise ParseError("the feed declares entities, or a DOCTYPE that may, which is refused", Reason.UNREADABLE)
    root = _ROOT.search(text)
    if root is not None and _breaks_off(text, root[1]):
        raise ParseError("the feed breaks off before its end", Reason.TRUNCATED)
    if text.count("<") > MOST_MARKUP or _most_open(text) > MOST_OPEN or _LONG_TAG.search(text):
        raise ParseError("the feed has more tags, deeper ones or longer ones than any feed", Reason.UNREADABLE)
    return _REFERENCE.sub(_to_a_character, text)


def _unquoted(text: str) -> Iterator[str]:
    """The text between quoted pages; one that has no end is none. Each character is looked at once: a pattern would
    look for every end anew.
    """
    at = 0
    while (start := text.find(_QUOTED, at)) >= 0 and (end := text.find(_END_OF_QUOTED, start)) >= 0:
        yield text[at:start]
        at = end + len(_END_OF_QUOTED)
    yield text[at:]


def _to_a_character(reference: re.Match[str]) -> str:
    """A number that is no character's spoils its story, not the feed."""
    number = int(reference[1][1:], 16) if reference[1][0] in "xX" else int(reference[1])
    return "\ufffd" if 0xD800 <= number <= 0xDFFF or number > sys.maxunicode else reference[0]


def _decoded(body: bytes) -> str:
    """By its first bytes, or as UTF-8, or by what it declares, or by what it proves to be; else what is no UTF-8 in it
    is marked as such.
    """
    for mark, encoding in sorted(_MARKS.items(), key=lambda pair: -len(pair[0])):
        if body.startswith(mark):
            try:
                return body.decode(encoding).removeprefix("\ufeff")
            except UnicodeDecodeError:
                raise ParseError(f"the feed is not the {encoding} it begins as", Reason.UNREADABLE) from None
    declared = _DECLARED.match(body)
    name = declared[1].decode().lower() if declared else "utf-8"
    if not _PLAIN.fullmatch(name):
        raise ParseError(f"the feed declares the encoding {name}, which is not read", Reason.UNREADABLE)
    if _SHIFTED in body:
        raise ParseError("the feed is written in ISO-2022, which is not read", Reason.UNREADABLE)
    name = _ENCODINGS.get(name, name)
    for encoding in _ways(body, name):
        try:
            return body.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return body.decode("utf-8", "replace")


def _ways(body: bytes, name: str) -> Iterator[str]:
    """What is UTF-8 is so by no accident; Western European is declared by programs that know nothing of the text."""
    many = _MANY_BYTES.match(name) is not None
    if many and not _is_surely_utf_8(body):
        yield name
    yield "utf-8"
    if not many and name not in _MERELY_SAID:
        yield name
    if (proven := guess_encoding(body)) is not None:
        yield proven
    yield name


def _is_surely_utf_8(body: bytes) -> bool:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return sum(c > "\u07ff" for c in text) >= _FEWEST_OF_THREE_BYTES


def _most_open(text: str) -> int:
    """How many elements are open at once, at most."""
    most = now = 0
    for tag in _TAG.finditer(text):
        if tag[1] is None or tag[0].endswith("/>"):
            continue
        now = max(0, now - 1) if tag[1] else now + 1
        most = max(most, now)
    return most


def _breaks_off(text: str, root: str) -> bool:
    """Whether the root is not closed, or stories come after its end. Nothing else need be well-formed."""
    end = text.rfind(f"</{root}")
    return end < 0 or _STORY.search(text, end) is not None
