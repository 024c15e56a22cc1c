"""A symbol names one file: inside its folder, on any file system, and never another symbol's."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.stores.file_names import LONGEST_SYMBOL, file_name

RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
SYMBOLS = st.sampled_from(sorted(RESERVED)) | st.text(
    st.characters() | st.sampled_from("A.B-%/\\. \0cé"), min_size=1, max_size=LONGEST_SYMBOL
).filter(lambda symbol: len(symbol.encode("utf-8", "surrogatepass")) <= LONGEST_SYMBOL)


def symbol_of(name: str) -> str:
    return unquote_to_bytes(name.removesuffix(".json")).decode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("AAPL", "AAPL.json"),
        ("BRK.B", "BRK.B.json"),
        ("RELIANCE.NS", "RELIANCE.NS.json"),
        ("BF-B", "BF-B.json"),
        ("M&M", "M%26M.json"),
        ("^NSEI", "%5ENSEI.json"),
        ("../../etc/passwd", "%2E.%2F..%2F%65%74%63%2F%70%61%73%73%77%64.json"),
        ("..", "%2E%2E.json"),
        (".", "%2E.json"),
        ("/ABS", "%2FABS.json"),
        ("A\\B", "A%5CB.json"),
        ("A\0B", "A%00B.json"),
        ("A\nB", "A%0AB.json"),
        ("C:", "C%3A.json"),
        ("CON", "%43ON.json"),
        ("NUL.JSON", "%4EUL.JSON.json"),
        ("nul.json", "%6E%75%6C.%6A%73%6F%6E.json"),
        ("COM1.TXT", "%43OM1.TXT.json"),
        ("LPT9", "%4CPT9.json"),
        ("CONE", "CONE.json"),
        ("brk.b", "%62%72%6B.%62.json"),
        ("BRK.B.", "BRK.B%2E.json"),
        (".BRK", "%2EBRK.json"),
        ("A ", "A%20.json"),
        ("-RF", "-RF.json"),
        ("%2E%2E", "%252E%252E.json"),
        ("É", "%C3%89.json"),
        ("E\u0301", "E%CC%81.json"),
        ("\U0001f680", "%F0%9F%9A%80.json"),
        ("\u202eLPAA", "%E2%80%AELPAA.json"),
    ],
)
def test_a_symbol_has_this_name(symbol: str, name: str) -> None:
    assert file_name(symbol) == name
    assert symbol_of(name) == symbol


@pytest.mark.parametrize("symbol", ["", "A" * 65, "A" * 256, "É" * 33, "\U0001f680" * 17])
def test_what_would_not_fit_in_a_name_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        file_name(symbol)


@settings(max_examples=300)
@given(SYMBOLS)
def test_a_name_stays_in_its_folder_fits_and_leads_back(symbol: str) -> None:
    name = file_name(symbol)
    assert symbol_of(name) == symbol
    assert len(name.encode()) < 200
    assert name.isascii()
    assert name.isprintable()
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert name.split(".")[0] not in RESERVED


@settings(max_examples=300)
@given(SYMBOLS, SYMBOLS)
def test_no_two_symbols_share_a_name_where_case_and_composition_do_not_count(one: str, other: str) -> None:
    def seen_by_a_file_system(symbol: str) -> str:
        return unicodedata.normalize("NFC", file_name(symbol)).casefold()

    for twin in (other, one.lower(), one.upper(), unicodedata.normalize("NFD", one), one + "."):
        if twin != one and 0 < len(twin.encode("utf-8", "surrogatepass")) <= LONGEST_SYMBOL:
            assert seen_by_a_file_system(twin) != seen_by_a_file_system(one)
