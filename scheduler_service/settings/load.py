"""From files and environment to settings, or to every problem they have."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import TypeAdapter, ValidationError

from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.settings.checks import (
    check_domains,
    check_left_alone,
    check_names,
    check_providers,
    check_rest,
    check_schedule,
)
from scheduler_service.settings.configuration import Configuration, configuration_type, validate
from scheduler_service.settings.environment import CONFIG_VARIABLE, read_environment
from scheduler_service.settings.keys import complete_keys, refuse_misnamed
from scheduler_service.settings.loaded import Settings
from scheduler_service.settings.model import Service
from scheduler_service.settings.report import Report
from scheduler_service.settings.section import LocalPath
from scheduler_service.settings.tree import Node, Where, find, merge, plain, walk
from scheduler_service.settings.watching_checks import check_watching
from scheduler_service.settings.watchlist import write_out
from scheduler_service.settings.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.settings.providers import ProviderOptions

SANDBOX_CONFIG = Path(__file__).with_name("sandbox.yaml")
LOCAL_CONFIG = Path("config/scheduler.yaml")
SYSTEM_CONFIG = Path("/etc/scheduler-service/scheduler.yaml")

_DATA_DIR: TypeAdapter[Path] = TypeAdapter(LocalPath)


class Found(NamedTuple):
    """The configuration files to use, and a sentence that says which and why."""

    paths: tuple[Path, ...]
    sentence: str


def find_config(explicit: Sequence[Path], environ: Mapping[str, str], cwd: Path) -> Found:
    """``-c``, else ``$SCHEDULER_CONFIG``, else the usual places, else the packaged sandbox configuration."""
    if explicit:
        return Found(tuple(explicit), f"Configuration: {', '.join(map(str, explicit))}, as given with -c.")
    if named := environ.get(CONFIG_VARIABLE):
        return Found((cwd / named,), f"Configuration: {named}, as ${CONFIG_VARIABLE} says.")
    for path in (cwd / LOCAL_CONFIG, SYSTEM_CONFIG):
        if path.exists():
            return Found((path,), f"Configuration: {path}, found there.")
    return Found((SANDBOX_CONFIG,), "Configuration: the packaged sandbox, for no other was given or found.")


def load(
    paths: Sequence[Path],
    environ: Mapping[str, str],
    *,
    providers: Mapping[str, type[ProviderOptions]],
    sources: Mapping[str, Mapping[str, str]],
    cwd: Path | None = None,
) -> Settings:
    """The settings these files and variables give.

    ``providers`` maps each provider to its options type, ``sources`` each domain to its sources and their providers.
    Relative paths start from the file they are written in, those in variables from ``cwd``.
    Raises ``ConfigurationError`` with every problem found.
    """
    cwd = cwd or Path.cwd()
    misnamed = refuse_misnamed(environ, providers)
    problems: list[Problem] = []
    tree, complete = _read(paths, _without(environ, misnamed), cwd, problems)
    problems += misnamed
    if not complete:  # what a file would have said looks missing elsewhere
        raise ConfigurationError(_tidy(problems))
    configuration, invalid, faulty = validate(tree, configuration_type(providers, sources))
    broken_places = {problem.where for problem in problems}
    problems += [problem for problem in invalid if problem.where not in broken_places]
    if configuration is None:
        raise ConfigurationError(_tidy(problems))
    origins = {path: node.where for path, node in walk(tree) if path}
    report = Report(origins, faulty, str(paths[0]) if paths else "")
    service = _place_data_dir(configuration.service, paths, environ, cwd)
    settings = _assemble(configuration, service, sources, environ, cwd, report)
    problems += report.problems
    if problems:
        raise ConfigurationError(_tidy(problems))
    return replace(settings, files=tuple(paths), origins=origins, warnings=tuple(report.warnings))


def find_data_dir(
    paths: Sequence[Path], environ: Mapping[str, str], cwd: Path | None = None
) -> tuple[Path, list[Problem]]:
    """``service.data_dir``, also of a configuration that is not valid; and the problems of files that cannot be read.

    What is written there wins; a file that cannot be read is passed over.
    """
    cwd = cwd or Path.cwd()
    problems: list[Problem] = []
    tree, _ = _read(paths, environ, cwd, problems)
    loc = ("service", "data_dir")
    _, node, taken = find(tree, loc)
    if taken == loc:
        try:
            return _DATA_DIR.validate_python(plain(node)), problems
        except ValidationError:  # `check` tells what is wrong with it
            pass
    return usual_data_dir(paths, environ, cwd), problems


def usual_data_dir(paths: Sequence[Path], environ: Mapping[str, str], cwd: Path | None = None) -> Path:
    """Where data lies when nothing is written about it: systemd's place, else ``data`` beside the configuration.

    The packaged configuration lies where nobody wants data: it keeps them in the working directory.
    """
    cwd, given = cwd or Path.cwd(), environ.get("STATE_DIRECTORY", "").split(":")[0]
    packaged = not paths or SANDBOX_CONFIG in paths
    folder = cwd if packaged else paths[0].absolute().parent
    return Path(given) if given else folder / Service().data_dir


def _read(paths: Sequence[Path], environ: Mapping[str, str], cwd: Path, problems: list[Problem]) -> tuple[Node, bool]:
    """Files and environment merged, and whether every file could be used."""
    tree, complete = Node({}, Where("")), True
    for path in paths:
        file = read_yaml(path, problems)
        complete = complete and file is not None
        if file is not None:
            tree = merge(tree, write_out(_without_empty_sections(file), problems))
    tree = merge(tree, write_out(read_environment(environ, cwd, problems), problems), by_name=False)
    return tree, complete


def _without_empty_sections(tree: Node) -> Node:
    """A section with nothing under it (all of it commented out, say) has its defaults. An unknown one is a mistake."""
    sections = tree.value if isinstance(tree.value, dict) else {}
    known = Configuration.model_fields
    kept = {key: node for key, node in sections.items() if node.value is not None or key not in known}
    return replace(tree, value=kept)


def _without(environ: Mapping[str, str], problems: Sequence[Problem]) -> dict[str, str]:
    """The environment less the variables that already have a problem."""
    told = {problem.where.removeprefix("environment ") for problem in problems}
    return {name: value for name, value in environ.items() if name not in told}


def _assemble(
    configuration: Configuration,
    service: Service,
    sources: Mapping[str, Mapping[str, str]],
    environ: Mapping[str, str],
    cwd: Path,
    report: Report,
) -> Settings:
    providers, domains = configuration.provider_options(), configuration.configured_domains()
    watchlist = tuple(watched.to_symbol() for watched in configuration.watchlist)
    sandbox = configuration.sandbox_options()
    used = check_domains(domains, sources, providers, report)
    asked_for_real = {name for name in used if providers[name].has_own_address or not sandbox.enabled}
    providers, off = complete_keys(providers, asked_for_real, environ, cwd, report)
    used -= off.keys()
    check_left_alone(domains, sources, off, report)
    check_providers(providers, used, sandbox.enabled, report)
    check_rest(configuration, service.data_dir, report)
    check_watching(configuration, service.data_dir, report)
    timezone = service.timezone
    schedules = [check_schedule(s, timezone, domains, watchlist, sources, report) for s in configuration.schedules]
    definite = tuple(schedule for schedule in schedules if schedule is not None)
    nominal = {name for name in used & asked_for_real if providers[name].knows_stocks_by_name}
    check_names(nominal, domains, sources, watchlist, definite, report)
    if not watchlist:
        report.warn("watchlist", "it is empty, so nothing will be fetched")
    return Settings(
        files=(),
        service=service,
        logging=configuration.logging,
        http=configuration.http,
        database=configuration.database,
        executor=configuration.executor,
        retention=configuration.retention,
        watchlist=watchlist,
        sandbox_options=sandbox,
        providers=providers,
        domains=domains,
        schedules=definite,
        monitors=configuration.monitors,
        backup=configuration.backup,
        alerts=configuration.alerts,
        used_providers=used,
        off=off,
    )


def _place_data_dir(service: Service, paths: Sequence[Path], environ: Mapping[str, str], cwd: Path) -> Service:
    if "data_dir" in service.model_fields_set:
        return service
    return service.model_copy(update={"data_dir": usual_data_dir(paths, environ, cwd)})


def _tidy(problems: Sequence[Problem]) -> list[Problem]:
    """Each once, in the order of the files and their lines."""
    return sorted(dict.fromkeys(problems), key=_place)


def _place(problem: Problem) -> tuple[str, int, int]:
    match = re.fullmatch(r"(.*):(\d+):(\d+)", problem.where, re.DOTALL)
    return (match[1], int(match[2]), int(match[3])) if match else (problem.where, 0, 0)
