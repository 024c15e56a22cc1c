"""What a stock is called, and whether a text or an answer is about it. Knows no domain."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason

LONGEST_NAME = 100
SHORTEST_TELLING_WORD = 3
"""A shorter ticker or name is a letter or a word as well (T, F, ON, IT)."""

OR_ELSE = " / "
"""Between the names of a company that has several."""

# What a company is, not who: "Apple Inc." is called Apple.
_FORMS = re.compile(
    r"ab|adr|ads|ag|asa|bv|class|co|common|companies|company|corp|corporation|group|holding|holdings|inc|"
    r"incorporated|limited|llc|lp|ltd|nv|ordinary|oyj|plc|sa|se|shares|spa|stock|the|trust",
    re.IGNORECASE,
)
# Words many names begin with: "General" alone is not General Motors.
_COMMON = re.compile(
    r"advanced|air|allied|american|applied|associated|atlantic|bank|best|canadian|capital|central|china|"
    r"chinese|consolidated|dollar|eastern|energy|european|federal|first|general|global|golden|great|health|"
    r"home|international|life|national|new|north|northern|old|pacific|public|real|royal|south|southern|"
    r"standard|texas|union|united|universal|us|usa|west|western|world",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_EXCHANGE = re.compile(r"^[A-Za-z ]{2,12}:\s*")


@dataclass(frozen=True, slots=True)
class Stock:
    """A stock as the provider knows it, and its company's name where the watchlist gives one."""

    ticker: str
    name: str | None = None

    @property
    def company(self) -> str:
        """The company's name on one line; empty where it is not known."""
        return _on_one_line(self.name or "")

    def __str__(self) -> str:
        """``Apple Inc. (ticker AAPL)``: how it is named to others."""
        return (
            f"{self.company} (ticker {self.ticker})" if self.company else f"the company with the ticker {self.ticker}"
        )


def speaks_of(text: str, stock: Stock) -> bool:
    """Whether a text names the stock's company or its ticker, as words of their own.

    A ticker is written in capitals, and a short one marked: ``$T``, ``(T)``, ``NYSE: T``. A company is named by its
    whole name without the legal form, or by its first word with a capital unless that is a common one; where it has
    several names (``Alphabet / Google``), by any of them.
    """
    return _has_ticker(text, stock.ticker) or _has_name(text, stock.name or "")


def require_company(stock: Stock, ticker: str, company: str) -> None:
    """Raises ``ParseError`` where an answer is about another company than asked: by the ticker it repeats, or by the
    company's name. A model may repeat the ticker and tell of another company all the same, so both have to be right
    where both are known. The spelling of a ticker is no matter: ``NYSE: BRK.B`` is ``BRK-B``.
    """
    if not ticker and not company:
        raise ParseError(f"the answer is about no company; it was asked about {stock}", Reason.NO_DATA)
    if ticker:
        same = _bare(ticker) == _bare(stock.ticker) and (not company or not stock.company or _may_be(company, stock))
    else:
        same = _has_name(company, stock.name or "")
    if not same:
        answered = _on_one_line(f"{company[:LONGEST_NAME]} {ticker[:LONGEST_NAME]}")
        raise ParseError(f"asked about {stock}, the answer is about {answered}", Reason.WRONG_COMPANY)


def _may_be(company: str, stock: Stock) -> bool:
    """Whether a name can be that company's, given its ticker: in full or in part, by its initials or its ticker."""
    if _has_name(company, stock.name or "") or _bare(company) == _bare(stock.ticker):
        return True
    told = _telling(company)
    names = [_telling(name) for name in (stock.name or "").split(OR_ELSE)]
    if not told or not any(names) or any(set(told) & set(name) - _common(told) for name in names):
        return True
    ticker = _bare(stock.ticker).casefold()
    return (
        ticker in told
        or _initials(told) in {ticker, *map("".join, names)}
        or "".join(told) in {_initials(name) for name in names}
    )


def _initials(words: list[str]) -> str:
    return "".join(word[0] for word in words)


def _telling(name: str) -> list[str]:
    return [word.casefold() for word in _words(name) if not _FORMS.fullmatch(word)]


def _common(words: list[str]) -> set[str]:
    return {word for word in words if _COMMON.fullmatch(word)}


def _on_one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_NAME]


def _bare(ticker: str) -> str:
    return "".join(c for c in _EXCHANGE.sub("", ticker.strip()).upper() if c.isalnum())


def _has_ticker(text: str, ticker: str) -> bool:
    parts = [re.escape(part) for part in re.split(r"[-./]", ticker.upper()) if part]
    if not parts:
        return False
    word = r"[-./ ]".join(parts)
    marked = rf"\${word}(?![^\W_])|\(\s?{word}\s?[,)]|\b(?:[A-Z]{{3,9}}|Nasdaq)\s?:\s?{word}(?![^\W_])"
    bare = rf"(?<![^\W_]){word}(?![^\W_])"
    telling = len(ticker) >= SHORTEST_TELLING_WORD and not ticker.isdigit() and not text.isupper()
    return re.search(f"{marked}|{bare}" if telling else marked, text) is not None


def _has_name(text: str, names: str) -> bool:
    return any(_has_one_name(text, name) for name in names.split(OR_ELSE))


def _has_one_name(text: str, name: str) -> bool:
    named = [word for word in _words(name) if not _FORMS.fullmatch(word)]
    if not named:
        return False
    # Lists of companies write MCDONALDS, texts McDonald's.
    return any(_is_named(words, named) for words in (_words(text), _words(re.sub(r"['’]", "", text))))


def _is_named(words: list[str], named: list[str]) -> bool:
    folded, wanted = [word.casefold() for word in words], [word.casefold() for word in named]
    if len(wanted) > 1 and any(folded[i : i + len(wanted)] == wanted for i in range(len(folded))):
        return True
    telling = len(wanted) == 1 or (len(wanted[0]) >= SHORTEST_TELLING_WORD and not _COMMON.fullmatch(wanted[0]))
    return telling and any(_is_name(word, named[0]) for word in words)


def _words(text: str) -> list[str]:
    """Without possessives, so that McDonald's is McDonald with everyone."""
    return [re.sub(r"['’]s$", "", word) for word in _WORD.findall(text)]


def _is_name(word: str, name: str) -> bool:
    """Whether a word is this name and not a word like it: the gap in the market is not Gap, nor is "On" On."""
    if word.casefold() != name.casefold():
        return False
    if len(name) < SHORTEST_TELLING_WORD:
        return word == name == name.upper()
    return word == name != name.lower() or not word[0].islower()
