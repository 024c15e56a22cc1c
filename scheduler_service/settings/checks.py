"""What one setting cannot know of another: the checks across a configuration."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.clock import MINUTE, Micros, from_iso
from scheduler_service.local_time import with_summer_time
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.settings.loaded import Schedule
from scheduler_service.settings.model import Tagged, good_for_slots
from scheduler_service.settings.providers import KeyedOptions, is_loopback, leaves_this_machine, wrong_address
from scheduler_service.settings.tree import join, printable
from scheduler_service.settings.units import format_duration, shown
from scheduler_service.triggers import Trigger, parse_during, parse_trigger
from scheduler_service.windows import parse_window

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Instant
    from scheduler_service.models import Symbol
    from scheduler_service.settings.configuration import Configuration
    from scheduler_service.settings.model import DomainSettings, ScheduleSettings
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.settings.report import Report

_SAMPLE_FROM = from_iso("2024-01-01T00:00:00Z")
_SAMPLE_UNTIL = from_iso("2026-01-01T00:00:00Z")
_SAMPLE_SLOTS = 400
LEAST_BETWEEN_BACKUPS: Micros = 10 * MINUTE
MOST_NAMED = 5


def check_domains(
    domains: Mapping[str, DomainSettings],
    sources: Mapping[str, Mapping[str, str]],
    providers: Mapping[str, ProviderOptions],
    report: Report,
) -> frozenset[str]:
    """Returns the enabled providers that some enabled source needs."""
    used: set[str] = set()
    for domain, settings in domains.items():
        seen: set[str] = set()
        for i, source in enumerate(settings.sources):
            path = f"domains.{domain}.sources[{i}].use"
            provider = sources[domain].get(source.use)
            if provider is None:
                wrong = f"{domain} has no source {shown(source.use)}"
                report.wrong(path, wrong, did_you_mean(source.use, sources[domain]))
            elif source.use in seen:
                report.wrong(path, f"the source {source.use} is listed twice", "keep one")
            elif source.enabled and not providers[provider].enabled:
                report.warn(path, f"never asked: the provider {provider} is switched off")
            elif source.enabled:
                used.add(provider)
            seen.add(source.use)
    return frozenset(used)


def check_left_alone(
    domains: Mapping[str, DomainSettings],
    sources: Mapping[str, Mapping[str, str]],
    off: Collection[str],
    report: Report,
) -> None:
    """Domains that have no source left, since all their providers are ``off``."""
    for domain, settings in domains.items():
        asked = {sources[domain].get(source.use) for source in settings.enabled_sources}
        if asked and asked <= set(off):
            report.warn(f"domains.{domain}", f"nothing is asked for {domain}: every source of it is off")


def check_providers(
    providers: Mapping[str, ProviderOptions], used: Collection[str], sandbox: bool, report: Report
) -> None:
    """Addresses, and what live use needs."""
    for name, options in providers.items():
        path = f"providers.{name}"
        addresses = options.addresses()
        for setting, url in addresses.items():
            if wrong := wrong_address(url):
                report.wrong(f"{path}.{setting}", wrong, "write one such as https://example.com")
        if name not in used or (sandbox and not options.has_own_address):
            continue
        if not addresses and not options.files():
            report.warn(f"{path}.{options.where_it_is_set}", f"nothing is asked of {name}: no address is written")
        abroad = [setting for setting, url in addresses.items() if leaves_this_machine(url)]
        if abroad and sandbox:
            hosts = ", ".join(sorted({urlsplit(addresses[setting]).hostname or "" for setting in abroad}))
            text = f"asked although the sandbox is enabled, for an address of {name} is written: {hosts}"
            report.warn(f"{path}.{abroad[0]}", f"{text}; leave it out, and the sandbox answers")
        if abroad and options.needs_user_agent:
            wrong = f"{name} must be told who asks, since {abroad[0]} is not on this machine"
            right = f'write under providers.{name}: user_agent: "Your Name your.name@example.com"'
            report.wrong(f"{path}.user_agent", wrong, right)
        elif abroad and "@" not in (getattr(options, "user_agent", None) or "@"):
            report.warn(f"{path}.user_agent", f"{name} wants a name and an e-mail address, and may refuse without")
        for setting in abroad:
            if isinstance(options, KeyedOptions) and options.api_keys and urlsplit(addresses[setting]).scheme == "http":
                wrong = f"the key of {name} would go to another machine unencrypted"
                report.wrong(f"{path}.{setting}", wrong, "write an address that begins with https://")
            if setting.startswith("urls[") and "{symbol}" not in addresses[setting]:
                text = "without {symbol} this one address is asked for every symbol, and says the same of each"
                report.warn(f"{path}.{setting}", text)


def check_names(
    providers: Collection[str],
    domains: Mapping[str, DomainSettings],
    sources: Mapping[str, Mapping[str, str]],
    watchlist: Sequence[Symbol],
    schedules: Sequence[Schedule],
    report: Report,
) -> None:
    """Stocks without a name that some schedule asks of ``providers``, who know them by it."""
    for provider in sorted(providers):
        asked = {
            domain
            for domain, settings in domains.items()
            if provider in (sources[domain].get(source.use) for source in settings.enabled_sources)
        }
        wanted = [schedule for schedule in schedules if schedule.enabled and schedule.domain in asked]
        nameless = [s.symbol for s in watchlist if not (s.name or "").strip() and any(w.selects(s) for w in wanted)]
        if nameless:
            more = f" and {len(nameless) - MOST_NAMED} more" if len(nameless) > MOST_NAMED else ""
            text = f"no name is written for {', '.join(nameless[:MOST_NAMED])}{more}; {provider} knows stocks by name: "
            report.warn("watchlist", text + "write one, or only what spells out the ticker is taken for theirs")


def is_directly_in(path: Path, folder: Path) -> bool:
    return path.parent.resolve() == folder.resolve()


def check_rest(configuration: Configuration, data_dir: Path, report: Report) -> None:
    """The web server's door, aliases, and the sections that later versions bring to life.

    A token file in the data directory may be missing: the service makes it.
    """
    http = configuration.http
    if not is_loopback(http.host) and http.token_file is None:
        wrong = f"{shown(http.host)} can be reached from other machines, and there is no http.token_file"
        report.wrong(
            "http.host", wrong, "write host: 127.0.0.1, or token_file: with the path of a file that holds a token"
        )
    if http.token_file is not None and not (http.token_file.is_file() or is_directly_in(http.token_file, data_dir)):
        report.wrong(
            "http.token_file", f"there is no file {http.token_file}", "make one that holds a long random token"
        )
    for watched in configuration.watchlist:
        for provider in watched.aliases:
            if provider not in configuration.provider_options():
                path = join(f"watchlist[{printable(watched.symbol)}].aliases", provider)
                right = did_you_mean(provider, configuration.provider_options())
                report.wrong(path, f"there is no provider {shown(provider)}", right)
    watched_symbols = {watched.symbol for watched in configuration.watchlist}
    for provider, options in configuration.provider_options().items():
        for setting, symbol in options.named_symbols().items():
            if symbol not in watched_symbols and not report.is_faulty("watchlist"):
                report.warn(f"providers.{provider}.{setting}", f"{symbol} is not on the watchlist, so this is not used")
    _warn_of_abbreviation(configuration.service.timezone, "service.timezone", report)
    _check_backup_trigger(configuration, report)
    _warn_of_what_is_to_come(configuration, report)


def _check_backup_trigger(configuration: Configuration, report: Report) -> None:
    """All backups of a day are kept, so that there must not be too many."""
    spec, path = configuration.backup.trigger, "backup.trigger"
    trigger = None if spec is None else _trigger(spec, configuration.service.timezone, path, report)
    shortest = None if trigger is None else _shortest_interval(trigger, _sampled(trigger))
    if shortest is not None and shortest < LEAST_BETWEEN_BACKUPS:
        wrong = f"two backups would be only {format_duration(shortest)} apart, and all of the last 24 hours are kept"
        report.wrong(path, wrong, f"leave {format_duration(LEAST_BETWEEN_BACKUPS)} or more")


def _sampled(trigger: Trigger) -> list[Instant]:
    return trigger.between(_SAMPLE_FROM, _SAMPLE_UNTIL, _SAMPLE_SLOTS)


def _shortest_interval(trigger: Trigger, slots: Sequence[Instant]) -> Micros | None:
    return trigger.interval or min((b - a for a, b in pairwise(slots)), default=None)


def _warn_of_what_is_to_come(configuration: Configuration, report: Report) -> None:
    """What is read and checked, but does nothing yet."""
    if configuration.database.url is not None:
        report.warn("database.url", "no effect in this version yet: the ledger is SQLite in the data directory")


def check_schedule(
    settings: ScheduleSettings,
    timezone: str,
    domains: Mapping[str, DomainSettings],
    watchlist: Sequence[Symbol],
    known_domains: Collection[str],
    report: Report,
) -> Schedule | None:
    """The schedule with its trigger read; None where that is wrong."""
    path = f"schedules[{settings.id}]"
    domain = domains.get(settings.domain)
    if settings.domain not in known_domains:
        report.wrong(
            f"{path}.domain",
            f"there is no domain {shown(settings.domain)}",
            did_you_mean(settings.domain, known_domains),
        )
    elif domain is None and not report.is_faulty(f"domains.{settings.domain}"):
        right = f"write under domains: {settings.domain}: {{sources: [...]}}"
        report.wrong(f"{path}.domain", f"the domain {settings.domain} is not configured", right)
    trigger = _trigger(settings.trigger, timezone, f"{path}.trigger", report)
    if settings.during is not None:
        trigger = _within(trigger, settings.during, timezone, f"{path}.during", report)
    _check_symbols(settings, watchlist, path, report)
    if trigger is None:
        return None
    slots = _sampled(trigger)
    interval = _shortest_interval(trigger, slots)
    if interval is not None and settings.spread >= interval:
        wrong = f"{format_duration(settings.spread)} is not below the {format_duration(interval)} between two slots"
        report.wrong(f"{path}.spread", wrong, "write a shorter one")
    if domain is not None and not (isinstance(settings.symbols, Tagged) and settings.symbols.stalest):
        _check_fresh_for(domain, slots, settings, path, report)
    return Schedule(
        id=settings.id,
        domain=settings.domain,
        symbols=settings.symbols,
        trigger=trigger,
        catch_up=settings.catch_up,
        catch_up_window=settings.catch_up_window,
        overlap=settings.overlap,
        spread=settings.spread,
        priority=settings.priority,
        enabled=settings.enabled,
    )


def _trigger(spec: Mapping[str, object], timezone: str, path: str, report: Report) -> Trigger | None:
    try:
        trigger = parse_trigger(_bare(spec), timezone)
    except ValueError as error:
        _report(error, spec, path, report)
        return None
    _warn_of_abbreviation(spec.get("timezone"), f"{path}.timezone", report)
    return trigger


def _within(
    trigger: Trigger | None, during: Mapping[str, object], timezone: str, path: str, report: Report
) -> Trigger | None:
    """Of a trigger that is wrong itself, the window is read all the same, for its own mistakes."""
    try:
        if trigger is None:
            parse_window(_bare(during), timezone)
            return None
        within = parse_during(trigger, _bare(during), timezone)
    except ValueError as error:
        _report(error, during, path, report)
        return None
    _warn_of_abbreviation(during.get("timezone"), f"{path}.timezone", report)
    return within


def _warn_of_abbreviation(timezone: object, path: str, report: Report) -> None:
    """Of a zone that is none of a place, as ``EST``."""
    if isinstance(timezone, str) and (meant := with_summer_time(timezone)):
        text = f"{timezone} is one offset all year, without summer time; {meant} follows the clocks there"
        report.warn(path, text)


def _bare(spec: Mapping[str, object]) -> dict[str, object]:
    """Text without the memory of where it was written."""
    return {key: _bare_value(value) for key, value in spec.items()}


def _bare_value(value: object) -> object:
    if isinstance(value, list):
        return [_bare_value(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _report(error: ValueError, spec: Mapping[str, object], path: str, report: Report) -> None:
    """At the key that the sentence begins with, where that is written."""
    wrong, _, right = str(error).partition("; ")
    key, found, rest = wrong.partition(": ")
    if found and key in spec:
        report.wrong(f"{path}.{key}", rest, right)
    else:
        report.wrong(path, wrong + _gathered(spec, path, report), right)


def _gathered(spec: Mapping[str, object], path: str, report: Report) -> str:
    """Where each key is written, if that is in several files."""
    places = {key: where for key in spec if (where := report.origin(join(path, key))) is not None}
    if len({where.source for where in places.values()}) < 2:
        return ""
    return f" (mappings of several files merge: {', '.join(f'{key} is of {where}' for key, where in places.items())})"


def _check_symbols(settings: ScheduleSettings, watchlist: Sequence[Symbol], path: str, report: Report) -> None:
    if isinstance(settings.symbols, Tagged):
        tags = {tag for symbol in watchlist for tag in symbol.tags}
        for tag in sorted(settings.symbols.tags - tags):
            report.warn(f"{path}.symbols.tags", f"no symbol of the watchlist has the tag {shown(tag)}")
    elif settings.symbols != "all" and not report.is_faulty("watchlist"):
        known = {symbol.symbol for symbol in watchlist}
        for i, symbol in enumerate(settings.symbols):
            if symbol not in known and not report.is_faulty(f"watchlist[{printable(symbol)}]"):
                right = f"add it there; {did_you_mean(symbol, known)}"
                report.wrong(f"{path}.symbols[{i}]", f"{symbol} is not on the watchlist", right)


def _check_fresh_for(
    domain: DomainSettings, slots: Sequence[Instant], settings: ScheduleSettings, path: str, report: Report
) -> None:
    asked = [source for source in domain.enabled_sources if source.when == "always"]
    if not asked:
        return
    quickest = min(asked, key=lambda source: source.fresh_for)
    if settings.enabled and mostly_skipped(slots, quickest.fresh_for):
        text = (
            "most of its slots will find everything fresh and be skipped: the shortest fresh_for of "
            f"{settings.domain} is {format_duration(quickest.fresh_for)} ({quickest.use})"
        )
        report.warn(f"{path}.trigger", text)


def mostly_skipped(slots: Sequence[Instant], fresh_for: Micros) -> bool:
    """Whether more than half of the slots come while the data is still fresh."""
    good_for = good_for_slots(fresh_for)
    skipped, checked = 0, None
    for slot in slots:
        if checked is not None and slot - checked < good_for:
            skipped += 1
        else:
            checked = slot
    return skipped * 2 > len(slots)
