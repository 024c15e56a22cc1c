"""Misbehaviour on request: which requests it strikes. What it does to them is in ``wire_faults``, ``wrong_data``,
``hostile_bodies`` and ``model_faults``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeAlias

from pydantic import Field

from scheduler_service.clock import Instant
from scheduler_service.models import Record


class FaultKind(StrEnum):
    """What goes wrong with any upstream. The comment names what else of the fault it reads."""

    STATUS = "status"  # status, retry_after: an HTML page, as from a server in front of the upstream
    ERROR = "error"  # status, retry_after, body: the same with the upstream's own JSON, {"error": {"message": ...}}
    OUT_OF_CREDIT = "out_of_credit"  # a 401 in JSON
    THRESHOLD = "threshold"
    UNDECLARED = "undeclared"
    HTML = "html"
    EMPTY = "empty"
    NAN = "nan"
    HUGE_INT = "huge_int"
    DUPLICATE_KEYS = "duplicate_keys"
    BRACKETS = "brackets"
    NOISE = "noise"
    TRUNCATED = "truncated"
    BODY = "body"  # body
    WRONG_COMPANY = "wrong_company"
    REDIRECT = "redirect"  # location; status where it is one of a redirect, else 302
    REDIRECT_LOOP = "redirect_loop"
    GZIP_BOMB = "gzip_bomb"
    ENDLESS = "endless"
    SLOW = "slow"  # seconds, before the first byte
    DRIP = "drip"  # seconds, between two bytes
    BLACKHOLE = "blackhole"
    CUT = "cut"
    RESET = "reset"
    NOT_HTTP = "not_http"


class WrongData(StrEnum):
    """What looks right and is not. The comment names what else of the fault it reads."""

    OLDER = "older"  # days: everything is as it was then
    EMPTY_LISTS = "empty_lists"
    HALF = "half"
    ZEROS = "zeros"


class HostileBody(StrEnum):
    """What is made to harm its reader, in JSON or as a feed."""

    DEEP = "deep"
    INFINITE = "infinite"
    HALF_CHARACTER = "half_character"
    UTF16 = "utf16"
    MARKED = "marked"
    WRONG_CHARSET = "wrong_charset"
    MANY_VALUES = "many_values"
    BLANKS = "blanks"
    ATTRIBUTES = "attributes"
    ENTITIES = "entities"
    FILES = "files"
    HIDDEN_ENTITIES = "hidden_entities"
    UNCLOSED = "unclosed"
    DEFLATE_BOMB = "deflate_bomb"
    BROTLI = "brotli"
    MANY_HEADERS = "many_headers"
    LONG_HEADER = "long_header"


class ModelFault(StrEnum):
    """What goes wrong with a language model; strikes only what one answers, ``NO_RESULTS`` searches too."""

    FAILED = "model_failed"
    CANCELLED = "model_cancelled"
    INCOMPLETE = "model_incomplete"
    QUEUED = "model_queued"
    NO_RESULTS = "no_results"
    INVENTED_SOURCES = "invented_sources"
    INVENTED_URLS = "invented_urls"
    PROSE = "prose"
    FENCED = "fenced"
    THINKING = "thinking"
    TEXT_CUT = "text_cut"
    TEXT_NAN = "text_nan"
    TEXT_HUGE = "text_huge"
    TEXT_NUMBERS = "text_numbers"
    TEXT_HOSTILE = "text_hostile"
    MISSTATED = "misstated"
    IN_THOUSANDS = "in_thousands"
    CONTRADICTING = "contradicting"
    RENAMED_FIELDS = "renamed_fields"
    EXTRA_FIELDS = "extra_fields"
    NO_COST = "no_cost"
    ABSURD_COST = "absurd_cost"


Kind: TypeAlias = FaultKind | WrongData | HostileBody | ModelFault


class Fault(Record):
    """One misbehaviour: what, for which requests, and for how many or until when (None: until it is removed).

    ``key``: only requests with that key, numbered as in ``Seen``. ``headers`` are added whatever the kind.
    """

    kind: Kind
    provider: str | None = None
    path: str = "/"
    """A prefix of the paths it concerns."""
    key: int | None = Field(default=None, ge=0)
    count: int | None = Field(default=None, ge=1)
    until: Instant | None = None
    status: int = Field(default=500, ge=200, le=599)
    retry_after: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    seconds: float = Field(default=1.0, ge=0)
    days: int = Field(default=400, ge=1)
    body: str = ""
    location: str = "http://127.0.0.2/elsewhere"

    def concerns(self, provider: str, path: str, key: int) -> bool:
        wanted = self.provider in (None, provider) and path.startswith(self.path) and self.key in (None, key)
        return wanted and (not isinstance(self.kind, ModelFault) or provider == "perplexity")


class Faults:
    """The misbehaviours in force, oldest first; the first that concerns a request strikes."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left: list[tuple[Fault, int | None]] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        self._left += [(fault, fault.count) for fault in faults]

    def remove(self, fault: Fault) -> None:
        """Every one equal to it; none is fine too."""
        self._left = [(kept, left) for kept, left in self._left if kept != fault]

    def clear(self) -> None:
        self._left = []

    def listed(self) -> tuple[Fault, ...]:
        """What is still in force, each with the count it has left."""
        return tuple(fault.model_copy(update={"count": left}) for fault, left in self._left)

    def strike(self, provider: str, path: str, now: Instant, key: int = 0) -> Fault | None:
        """The fault for this request, counted down; the used up and the expired are dropped."""
        self._left = [(fault, left) for fault, left in self._left if fault.until is None or now < fault.until]
        for n, (fault, left) in enumerate(self._left):
            if fault.concerns(provider, path, key):
                if left == 1:
                    del self._left[n]
                elif left is not None:
                    self._left[n] = (fault, left - 1)
                return fault
        return None
