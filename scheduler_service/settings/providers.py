"""What every provider can be told. A client adds its own fields by subclassing.

Three names have a meaning here, whichever client declares them: ``base_url`` and fields ending in ``_base_url`` are
where its requests go, ``urls`` as well (templates, with ``{symbol}``), and a ``user_agent`` is needed wherever requests
leave this machine. Whose options are ``KeyedOptions`` is off without a key: ``settings/keys.py``.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from scheduler_service.calls import Cost
from scheduler_service.clock import MILLISECOND, MINUTE, SECOND
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.units import Duration, Share, Size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scheduler_service.models import Symbol


class Budget(Section):
    """What may be spent at one provider. Days and months are UTC; None: no limit."""

    calls_per_day: int | None = Field(default=None, ge=0)
    """At most so many calls a day."""
    calls_per_month: int | None = Field(default=None, ge=0)
    """At most so many calls a month."""
    tokens_per_day: int | None = Field(default=None, ge=0)
    """At most so many tokens a day."""
    tokens_per_month: int | None = Field(default=None, ge=0)
    """At most so many tokens a month."""
    usd_per_day: float | None = Field(default=None, ge=0)
    """At most so many US dollars a day."""
    usd_per_month: float | None = Field(default=None, ge=0)
    """At most so many US dollars a month."""
    reserve: Share = 0.0
    """The share of each limit that is kept for what a person asks for and for high priority."""


class ProviderOptions(Section):
    """One provider: where it is, and how much it may be asked."""

    knows_stocks_by_name: ClassVar[bool] = False
    """Whether what it says is told to be of a stock by the company's name."""

    hosts_apart: ClassVar[bool] = False
    """Whether each host asked is an upstream of its own: its rate and its wishes for quiet are not the others'."""

    enabled: bool = True
    """false: it is never asked."""
    base_url: str | None = None
    """Where it is. Written out, it wins over the sandbox."""
    concurrency: int = Field(default=4, ge=1, le=64)
    """At most so many requests at the same time."""
    requests_per_second: float | None = Field(default=None, gt=0)
    """At most so many requests a second."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """At most so many requests a minute."""
    requests_per_day: int | None = Field(default=None, ge=1, le=1_000_000)
    """At most so many requests within any 24 hours."""
    budget: Budget = Budget()
    """What may be spent."""
    timeout: Duration = Field(default=30 * SECOND, gt=0)
    """What one request may take, from connecting to the last byte."""
    max_body: Size = Field(default=5_000_000, gt=0)
    """The largest answer that is read, after decompression."""

    def addresses(self) -> dict[str, str]:
        """Where requests go, by the setting that says so: ``base_url``, ``www_base_url``, ``urls[0]``."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        found = {name: value for name, value in values.items() if name.endswith("base_url") and value}
        return found | {f"urls[{i}]": url for i, url in enumerate(values.get("urls", ()))}

    @property
    def has_own_address(self) -> bool:
        """Whether the configuration itself says where this provider is; then the sandbox does not answer for it."""
        return any(getattr(self, name, None) for name in ("base_url", "urls") if name in self.model_fields_set)

    @property
    def where_it_is_set(self) -> str:
        """The setting that says where this provider is."""
        return "urls" if "urls" in type(self).model_fields else "base_url"

    def files(self) -> tuple[Path, ...]:
        """The files that are read instead of asking anybody, absolute."""
        return ()

    @property
    def needs_user_agent(self) -> bool:
        """Whether it wants to be told who asks, and has not been."""
        return "user_agent" in type(self).model_fields and not (getattr(self, "user_agent", None) or "").strip()

    @property
    def whereabouts(self) -> str:
        """Who is asked and how: what an upstream's wish for quiet belongs to. Another address has expressed none."""
        return "\n".join(url for name, url in sorted(self.addresses().items()) if name.endswith("base_url"))

    @property
    def usd_per_call(self) -> float:
        """What one call may cost, for estimates: the dearest."""
        return 0.0

    def expected(self, endpoint: str) -> Cost:
        """What one call there may cost. ``endpoint``: in the client's word, where a source asks; empty: anywhere."""
        del endpoint
        return Cost(round(self.usd_per_call * 1e6))

    def calls_for(self, symbol: Symbol) -> int:
        """How many calls one fetch of this symbol takes, for estimates: one at each of ``urls``."""
        del symbol
        return max(1, sum(setting.startswith("urls[") for setting in self.addresses()))

    @property
    def calls_for_all(self) -> int:
        """How many of them serve every symbol alike: what one fetch was told is kept for the next."""
        return 0

    def named_symbols(self) -> Mapping[str, str]:
        """The symbols that these settings speak of, by the setting that does."""
        return {}


class KeyedOptions(ProviderOptions):
    """A provider that wants a key. Loading completes ``api_keys``, the first one the primary, the others spares, with
    those of the environment, of files and of systemd credentials.
    """

    key_prefix: ClassVar[str] = ""
    """What every key of this provider begins with; empty where nothing is known of that."""
    nicknames: ClassVar[tuple[str, ...]] = ()
    """What else people call it in the names of environment variables."""

    api_keys: tuple[SecretStr, ...] = ()
    """The keys, the best first. Better in an environment variable or a file: see Keys."""
    api_keys_file: LocalPath | None = None
    """A file of keys, one a line; `#` begins a comment."""

    @field_validator("api_keys", mode="before")
    @classmethod
    def _key_alone(cls, value: object) -> object:
        return (str(value),) if isinstance(value, str) and value.strip() else value


class SandboxOptions(Section):
    """The embedded upstream: it answers for every provider whose address is not written."""

    enabled: bool = False
    """true: nobody real is asked but whose address is written, of which `check` and `run` warn where it is of another
    machine; all documents are marked as sandbox data."""
    latency: Duration = Field(default=20 * MILLISECOND, le=MINUTE)
    """How long each of its answers takes."""


def wrong_address(url: str) -> str | None:
    """What is wrong with a written address; None when nothing is. Never repeats it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "this is not a URL"
    if parts.scheme not in ("http", "https"):
        return "only http:// and https:// addresses can be asked"
    if not host or any(c.isspace() for c in url):
        return "this address names no host"
    return "an address must not hold a user name or password" if parts.username or parts.password else None


def leaves_this_machine(url: str) -> bool:
    """Whether asking this address (a sound one) asks another machine."""
    return wrong_address(url) is None and not is_loopback(urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host as written is this machine itself."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
