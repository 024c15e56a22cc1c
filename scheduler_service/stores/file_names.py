"""From a symbol to a file name: one stable name, inside its folder, on any file system."""

from __future__ import annotations

import string

LONGEST_SYMBOL = 64

_KEPT = frozenset((string.ascii_uppercase + string.digits + "-").encode())
_RESERVED = frozenset(["CON", "PRN", "AUX", "NUL"] + [f"{port}{n}" for port in ("COM", "LPT") for n in range(10)])


def file_name(symbol: str) -> str:
    """``BRK.B`` to ``BRK.B.json``; every byte outside ``A-Z 0-9 -`` and inner ``.`` becomes ``%XX``.

    Names that a system reserves (``CON``, ``NUL.X``) get their first letter encoded. Raises ``ValueError`` for an empty
    symbol or one of more than 64 bytes of UTF-8: encoded, it would not fit in a name.
    """
    raw = symbol.encode("utf-8", "surrogatepass")
    if not 0 < len(raw) <= LONGEST_SYMBOL:
        raise ValueError(f"a symbol has 1 to {LONGEST_SYMBOL} bytes of UTF-8, this one {len(raw)}")
    last = len(raw) - 1
    encoded = "".join(
        chr(byte) if byte in _KEPT or (byte == ord(".") and 0 < i < last) else f"%{byte:02X}"
        for i, byte in enumerate(raw)
    )
    if encoded.split(".")[0] in _RESERVED:
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return f"{encoded}.json"
