"""Secrets, and text made safe to show: what is registered here leaves the process only as ``[redacted]``.

The registry belongs to the process, as its log and its standard error do.
"""

from __future__ import annotations

import base64
import re
import threading
from typing import Any, Final

MARK: Final = "[redacted]"
SHORTEST: Final = 4
"""Characters. Anything shorter is no secret, and taking it out would only make text unreadable."""

_SHORTEST_IN_BASE64: Final = 6
_NEVER_ENCODED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, ESC among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks and overrides of the writing direction
    "\u2028\u2029\ufff9-\ufffb\U000e0000-\U000e007f"  # line separators, annotations, invisible letters
    "\ud800-\udfff]"  # halves of a pair, which UTF-8 cannot carry
)
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LETTER_ESCAPES: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


class Secrets:
    """What must not be shown, and the forms it could be shown in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: frozenset[str] = frozenset()
        self._literals: tuple[str, ...] = ()
        self._patterns: tuple[re.Pattern[str], ...] = ()

    def register(self, value: str) -> None:
        """From now on this value is taken out of text, raw and as URL, JSON, ``repr`` and base64 write it."""
        value = value.strip()
        if len(value) < SHORTEST:
            return
        with self._lock:
            self._values |= {value}
            # The longest first, or a secret that begins with another one would leave its tail behind.
            values = sorted(self._values, key=lambda text: (-len(text), text))
            literals = {form for text in values for form in (text, *_in_base64(text))}
            self._literals = tuple(sorted(literals, key=lambda text: (-len(text), text)))
            self._patterns = tuple(_as_escaped(text) for text in values if not _NEVER_ENCODED.issuperset(text))

    def redact(self, text: str) -> str:
        """The text without the secrets."""
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, MARK)
        for pattern in self._patterns:
            text = pattern.sub(MARK, text)
        return text


_SECRETS: Final = Secrets()
register_secret = _SECRETS.register
redact = _SECRETS.redact


def redact_all(value: Any) -> Any:
    """Plain JSON without the secrets, in keys too."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {redact(name): redact_all(part) for name, part in value.items()}
        case list() | tuple():
            return [redact_all(part) for part in value]
        case _:
            return value


def escape(text: str, keep: str = "") -> str:
    """One line that shows what it holds: control characters and direction overrides written out, but for ``keep``."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _written_out(match[0]), text)


def _written_out(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return _SHORT_ESCAPES.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _as_escaped(value: str) -> re.Pattern[str]:
    """The value with each of its characters raw or escaped: encoders differ in which ones they escape."""
    return re.compile("".join(_any_form(character) for character in value))


def _any_form(character: str) -> str:
    """One character as URL, JSON and ``repr`` write it, also when one of them wrote it after another."""
    if character in _NEVER_ENCODED:
        return re.escape(character)
    encoded = character.encode("utf-8", "surrogatepass")
    utf16 = character.encode("utf-16-be", "surrogatepass").hex()
    forms = [
        "".join(f"%(?:25)*{byte:02x}" for byte in encoded),
        "".join(rf"\\+u{utf16[i : i + 4]}" for i in range(0, len(utf16), 4)),
        "".join(rf"\\+x{byte:02x}" for byte in encoded),
        r"\\+" if character == "\\" else r"\\*" + re.escape(character),
    ]
    if character in _LETTER_ESCAPES:
        forms.append(r"\\+" + _LETTER_ESCAPES[character])
    if character == " ":
        forms.append(re.escape("+"))
    return f"(?i:{'|'.join(forms)})"


def _in_base64(value: str) -> set[str]:
    """What stands in the base64 of any text that holds the value: it depends on the place, by thirds."""
    if len(value) < _SHORTEST_IN_BASE64:
        return set()
    raw = value.encode("utf-8", "surrogatepass")
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode("ascii")
        first, last = -(-8 * shift // 6), 8 * (shift + len(raw)) // 6
        whole = encoded[first:last]  # the characters that no neighbour has a bit in
        forms |= {whole, whole.replace("+", "-").replace("/", "_")}
    return forms
