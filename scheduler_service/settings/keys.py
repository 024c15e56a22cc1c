"""The keys of the providers that want one, from every place a key may stand in, in this order: the configuration,
``api_keys_file``, the variable ``X_API_KEY``, the file that ``X_API_KEY_FILE`` names, and systemd credentials
(https://systemd.io/CREDENTIALS/: files in ``$CREDENTIALS_DIRECTORY``).

No text made here shows a key, or a part of one.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from scheduler_service.errors import Problem
from scheduler_service.redaction import SHORTEST
from scheduler_service.settings.environment import PREFIX
from scheduler_service.settings.providers import KeyedOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.settings.report import Report

MAX_BYTES = 65_536
LONGEST = 1_000
CREDENTIALS = "CREDENTIALS_DIRECTORY"
MOUNTED_SECRETS = Path("/run/secrets")
"""Where container engines put secrets, readable by everyone in the container."""

_MEANT_FOR_A_KEY = re.compile(r"(KEY|TOKEN|SECRET)S?(_FILE)?$")
_FAULTS = [
    (re.compile(pattern, re.IGNORECASE), wrong, right)
    for pattern, wrong, right in (
        (r"^[\"'`“”‘’]", "the key stands in quotes", "write it without them"),
        (r"^(authorization|bearer)\b", "the key begins with a word of the HTTP header", "write the key alone"),
        (r"^(export\s|\w+_KEY\s*=)", "this is a line NAME=KEY", "write the key alone"),
        (r"\s", "the key has a blank in its middle", "write each key on a line of its own"),
        (r"[^!-~]", "the key has a character that no key has", "copy it anew"),
        (r"^<.*>$|\.\.\.|your[-_]|^changeme$", "this is a placeholder, not a key", "put the key there, or nothing"),
    )
]


class _Place(NamedTuple):
    """A text that should hold keys; ``path`` is the setting it completes, ``at`` where it stands if not written."""

    path: str
    text: str
    at: str = ""


def key_variable(provider: str) -> str:
    """``PERPLEXITY_API_KEY``; the same with ``_FILE`` names a file."""
    return re.sub(r"[^A-Z0-9]", "_", provider.upper()) + "_API_KEY"


def complete_keys(
    providers: Mapping[str, ProviderOptions],
    needed: Collection[str],
    environ: Mapping[str, str],
    cwd: Path,
    report: Report,
) -> tuple[dict[str, ProviderOptions], dict[str, str]]:
    """The providers with all their keys, and by name why some are off.

    The keys of a provider that is not ``needed`` are not looked for, and those written for it are left out.
    """
    completed, off = dict(providers), dict[str, str]()
    keyed = {name: options for name, options in providers.items() if isinstance(options, KeyedOptions)}
    for name, options in keyed.items():
        _refuse_open_files(name, options, report)
        if name not in needed:
            completed[name] = options.model_copy(update={"api_keys": ()})
            continue
        before = len(report.problems)
        keys = list(dict.fromkeys(_keys_of(name, options, environ, cwd, keyed, report)))
        completed[name] = options.model_copy(update={"api_keys": tuple(map(SecretStr, keys))})
        if keys or len(report.problems) > before or report.is_faulty(f"providers.{name}.api_keys"):
            continue
        off[name] = (
            f"{name} is off: no key; put one into {key_variable(name)}, "
            f"or a file's path into {key_variable(name)}_FILE or providers.{name}.api_keys_file"
        )
        report.warn(f"providers.{name}", off[name])
        _tell_of_other_variables(name, options, environ, report)
    return completed, off


def refuse_misnamed(environ: Mapping[str, str], providers: Mapping[str, type[ProviderOptions]]) -> list[Problem]:
    """Variables such as ``SCHEDULER_PERPLEXITY_API_KEY``, which would be settings, and are meant to be keys."""
    found = []
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and "__" not in variable and _MEANT_FOR_A_KEY.search(variable):
            for name, kind in providers.items():
                if issubclass(kind, KeyedOptions) and _names(variable, name, kind):
                    right = f"put the key of {name} into {key_variable(name)}"
                    found.append(Problem(f"environment {variable}", "", "this variable is not read", right))
                    break
    return found


def split_keys(text: str) -> list[str]:
    """The keys in a text: one a line or between commas; lines that begin with ``#`` are comments."""
    lines = [line for line in text.lstrip("\ufeff").splitlines() if not line.lstrip().startswith("#")]
    return [key for line in lines for part in line.split(",") if (key := part.strip())]


def wrong_key(key: str) -> tuple[str, str] | None:
    """What is wrong with a key, and what would be right; None when nothing is known to be."""
    for looks_so, wrong, right in _FAULTS:
        if looks_so.search(key):
            return wrong, right
    if not SHORTEST <= len(key) <= LONGEST:
        return "this is too short or too long for a key", "copy it anew"
    return None


def _keys_of(
    name: str,
    options: KeyedOptions,
    environ: Mapping[str, str],
    cwd: Path,
    keyed: Mapping[str, KeyedOptions],
    report: Report,
) -> Iterator[str]:
    """The sound keys of every place; what is wrong with the others goes into the report."""
    for place in _places(name, options, environ, cwd, report):
        keys = split_keys(place.text)
        if not keys:
            report.warn(place.path, "it holds no key, so it counts as not set", at=place.at)
        for number, key in enumerate(keys, 1):
            which = f" (key {number} there)" if len(keys) > 1 else ""
            if fault := wrong_key(key):
                report.wrong(place.path, fault[0] + which, fault[1], at=place.at)
                continue
            if doubt := _doubt(name, options, key, keyed):
                report.warn(place.path, doubt + which, at=place.at)
            yield key


def _places(
    name: str, options: KeyedOptions, environ: Mapping[str, str], cwd: Path, report: Report
) -> Iterator[_Place]:
    path, variable = f"providers.{name}.api_keys", key_variable(name)
    for i, key in enumerate(options.api_keys):
        yield _Place(f"{path}[{i}]", key.get_secret_value())
    if options.api_keys_file is not None:
        yield from _in_file(_Place(f"{path}_file", ""), options.api_keys_file, report)
    if variable in environ:
        yield _Place("", environ[variable], f"environment {variable}")
    if named := environ.get(f"{variable}_FILE", "").strip():
        file = Path(named).expanduser() if named.startswith("~/") else cwd / named
        yield from _in_file(_Place("", "", f"environment {variable}_FILE"), file, report)
    for file in _credentials(environ, variable):
        yield from _in_file(_Place("", "", f"systemd credential {file.name}"), file, report, exposed=False)


def _credentials(environ: Mapping[str, str], variable: str) -> list[Path]:
    """The credentials named for this key: ``perplexity_api_key``, or with more before it."""
    folder = environ.get(CREDENTIALS, "")
    if not folder:
        return []
    ours = re.compile(rf"(.*[^a-z0-9])?{variable}", re.IGNORECASE | re.DOTALL)
    try:
        return sorted(file for file in Path(folder).iterdir() if ours.fullmatch(file.name))
    except OSError:
        return []  # the variable outlives the unit in a shell that was started from it


def _in_file(place: _Place, file: Path, report: Report, *, exposed: bool = True) -> Iterator[_Place]:
    """The place with the file's text, where it can be read. ``exposed``: others could read it."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            body = opened.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            report.wrong(place.path, f"{file} is larger than 64 KB", "name a file of keys, one a line", at=place.at)
            return
        text = body.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", "no path")
        right = "name a file that holds the key"
        report.wrong(place.path, f"the key cannot be read from {file}: {why}", right, at=place.at)
        return
    if exposed and os.name == "posix" and mode & stat.S_IROTH and not file.is_relative_to(MOUNTED_SECRETS):
        report.warn(place.path, f"every user of this machine can read {file}; chmod 600 {file}", at=place.at)
    yield place._replace(text=text)


def _refuse_open_files(name: str, options: KeyedOptions, report: Report) -> None:
    """A key in a configuration file that others can read is no secret."""
    path = f"providers.{name}.api_keys"
    where = report.origin(f"{path}[0]")
    if not options.api_keys or where is None or not where.line or os.name != "posix":
        return
    try:
        mode = Path(where.source).stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        right = f"chmod 600 {where.source}, or put the key into {key_variable(name)}"
        report.wrong(path, "a key stands in a file that others than its owner can read", right)


def _doubt(name: str, options: KeyedOptions, key: str, keyed: Mapping[str, KeyedOptions]) -> str | None:
    """Why this is probably a key of somebody else."""
    for other, theirs in keyed.items():
        if other != name and theirs.key_prefix and key.startswith(theirs.key_prefix):
            return f"this looks like a key of {other}, not of {name}"
    at_home = options.base_url == type(options).model_fields["base_url"].default
    if at_home and options.key_prefix and not key.startswith(options.key_prefix):
        return f"this does not look like a key of {name}: those begin with {options.key_prefix}"
    return None


def _tell_of_other_variables(name: str, options: KeyedOptions, environ: Mapping[str, str], report: Report) -> None:
    """A key of this provider that stands in a variable nobody reads."""
    read = {key_variable(name), f"{key_variable(name)}_FILE"}
    for variable in sorted(environ.keys() - read):
        if variable.startswith(PREFIX) or not environ[variable].strip():
            continue
        named = _MEANT_FOR_A_KEY.search(variable.upper()) and _names(variable, name, type(options))
        looks = options.key_prefix and environ[variable].strip().startswith(options.key_prefix)
        if named or looks:
            text = f"this variable is not read; the key of {name} belongs into {key_variable(name)}"
            report.warn("", text, at=f"environment {variable}")


def _names(variable: str, provider: str, kind: type[KeyedOptions]) -> bool:
    return any(name.upper() in variable.upper() for name in (provider, *kind.nicknames))
