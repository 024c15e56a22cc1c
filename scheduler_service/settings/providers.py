"""What every provider can be told. A client adds its own fields by subclassing.

Three names have a meaning here, whichever client declares them: ``base_url`` and fields ending in ``_base_url`` are
where its requests go, ``urls`` as well (templates, with ``{symbol}``), and a ``user_agent`` is needed wherever requests
leave this machine. Whose options are ``KeyedOptions`` is off without a key.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from scheduler_service.clock import MILLISECOND, MINUTE, SECOND
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.units import Duration, Share, Size


class Budget(Section):
    """What may be spent at one provider. Days and months are UTC; None: no limit."""

    calls_per_day: int | None = Field(default=None, ge=0)
    usd_per_day: float | None = Field(default=None, ge=0)
    usd_per_month: float | None = Field(default=None, ge=0)
    reserve: Share = 0.0


class ProviderOptions(Section):
    """One provider: where it is, and how much it may be asked."""

    enabled: bool = True
    base_url: str | None = None
    concurrency: int = Field(default=4, ge=1, le=64)
    requests_per_second: float | None = Field(default=None, gt=0)
    requests_per_minute: float | None = Field(default=None, gt=0)
    budget: Budget = Budget()
    timeout: Duration = Field(default=30 * SECOND, gt=0)
    max_body: Size = Field(default=5_000_000, gt=0)

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
    def needs_user_agent(self) -> bool:
        """Whether it wants to be told who asks, and has not been."""
        return "user_agent" in type(self).model_fields and not (getattr(self, "user_agent", None) or "").strip()


    @property
    def usd_per_call(self) -> float:
        """What one call may cost, for estimates."""
        return 0.0


class KeyedOptions(ProviderOptions):
    """A provider that wants a key. Loading completes ``api_keys``, the first one the primary, the others spares, with
    those of the environment, of files and of systemd credentials.
    """

    api_keys: tuple[SecretStr, ...] = ()
    api_keys_file: LocalPath | None = None


class SandboxOptions(Section):
    """The embedded upstream. ``latency`` is added to each of its answers."""

    enabled: bool = False
    latency: Duration = Field(default=20 * MILLISECOND, le=MINUTE)


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
