"""The whole configuration as one pydantic-settings model, fed from the tree of what was written.

The sources that pydantic-settings brings know neither lines nor duplicate keys nor unknown variables, and take a
missing file for an empty one; so it gets one of ours, which delivers the files and the environment already merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from scheduler_service.settings.explain import explain
from scheduler_service.settings.model import (
    Database,
    DomainSettings,
    Executor,
    Http,
    Kept,
    Logging,
    Retention,
    ScheduleSettings,
    Service,
    Watched,
)
from scheduler_service.settings.providers import ProviderOptions, SandboxOptions
from scheduler_service.settings.section import Section
from scheduler_service.settings.tree import Loc, Node, find, plain, without
from scheduler_service.settings.watching import Alerts, Backup, Monitors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.errors import Problem

_OF_MANY = ("watchlist", "providers", "domains", "schedules")
_ROUNDS = 4


class Configuration(BaseSettings):
    """Every section. ``configuration_type`` gives providers, domains and retention the names this program knows."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    service: Service = Service()
    logging: Logging = Logging()
    http: Http = Http()
    database: Database = Database()
    executor: Executor = Executor()
    retention: Retention = Retention()
    watchlist: tuple[Watched, ...] = ()
    providers: Section = Section()
    domains: Section = Section()
    schedules: tuple[ScheduleSettings, ...] = ()
    monitors: Monitors = Monitors()
    backup: Backup = Backup()
    alerts: Alerts = Alerts()

    def provider_options(self) -> dict[str, ProviderOptions]:
        """Every provider but the sandbox, by name."""
        return {name: value for name, value in self.providers if isinstance(value, ProviderOptions)}

    def sandbox_options(self) -> SandboxOptions:
        return cast("SandboxOptions", dict(self.providers)["sandbox"])

    def configured_domains(self) -> dict[str, DomainSettings]:
        return {name: value for name, value in self.domains if value is not None}


class TreeSource(PydanticBaseSettingsSource):
    """Delivers a tree's values."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def configuration_type(providers: Mapping[str, type[ProviderOptions]], domains: Iterable[str]) -> type[Configuration]:
    """The model in which exactly these providers and domains can be written."""
    names = list(domains)
    options: dict[str, Any] = {name: (kind, kind()) for name, kind in providers.items()}
    options["sandbox"] = (SandboxOptions, SandboxOptions())
    known_providers = create_model("Providers", __base__=Section, **options)
    known_domains = create_model("Domains", __base__=Section, **_optional(DomainSettings, names))
    retention = create_model("Retention", __base__=Retention, **_optional(Kept, names))
    return create_model(
        "Configuration",
        __base__=Configuration,
        providers=(known_providers, known_providers()),
        domains=(known_domains, known_domains()),
        retention=(retention, retention()),
    )


def _optional(kind: type[Section], names: Iterable[str]) -> dict[str, Any]:
    return dict.fromkeys(names, (kind | None, None))


def validate(tree: Node, known: type[Configuration]) -> tuple[Configuration | None, list[Problem], set[str]]:
    """The configuration, its problems, and the paths of what was left out because of them.

    What is sound is validated without its faulty neighbours, so that the checks that follow find the rest of the
    problems in the same go. Leaving something out can make what encloses it incomplete, hence the rounds. None where
    nothing is left to check.
    """
    problems: list[Problem] = []
    left_out: set[str] = set()
    for attempt in range(_ROUNDS):
        try:
            return _build(tree, known), problems, left_out
        except ValidationError as error:
            errors = error.errors(include_url=False)
        if attempt == 0:
            problems = [explain(e, tree, known) for e in errors]
        faulty = {_unit(find(tree, e["loc"])[2]) for e in errors}
        left_out |= {find(tree, loc)[0] for loc in faulty}
        tree = without(tree, faulty)
    return None, problems, left_out


def _build(tree: Node, known: type[Configuration]) -> Configuration:
    values = cast("dict[str, Any]", plain(tree))

    class FromTree(known):  # type: ignore[misc, valid-type]  # its fields are known at run time alone
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], **_: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (TreeSource(settings_cls, values),)

    return cast("Configuration", FromTree())


def _unit(loc: Loc) -> Loc:
    """What is left out for an error at ``loc``: a setting of a section, or of one of a section of many."""
    return loc[:3] if loc and loc[0] in _OF_MANY else loc[:2]
