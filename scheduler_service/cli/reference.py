"""``docs/configuration.md``, made from the settings' types: ``make docs`` writes it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import source_providers
from scheduler_service.clients.base import discover
from scheduler_service.settings.configuration import Configuration
from scheduler_service.settings.keys import key_variable
from scheduler_service.settings.model import DomainSettings, Kept, ScheduleSettings, SourceSettings, Watched
from scheduler_service.settings.providers import KeyedOptions, ProviderOptions, SandboxOptions
from scheduler_service.settings.reference import Setting, purpose_of, settings_of, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

PLAIN_SECTIONS = ("service", "logging", "http", "database", "executor")
LATER_SECTIONS = ("monitors", "backup", "alerts")

HEAD = """\
# Configuration

Every setting there is. `make docs` makes this page from the types that read the settings. `scheduler-service init DIR`
writes a configuration with comments to begin with. `scheduler-service check` says what is wrong with one: each mistake
with its file, its line, and what would be right.

## Files

YAML 1.2, given with `-c FILE`, else named by `$SCHEDULER_CONFIG`, else `./config/scheduler.yaml`, else
`/etc/scheduler-service/scheduler.yaml`, else the packaged sandbox. `-c` can be given several times: later files win.
Mappings merge, lists are replaced, but `schedules` merge by `id` and the `watchlist` by `symbol`. Relative paths start
from the file they are written in. Anchors, aliases and tags are refused. `NO`, `ON` and `12:30` are text; `null`,
`true` and numbers are not, unless they stand in quotes. A switch takes `true` and `false` alone, and a number
no quotes.

## Environment variables

Every setting is also a variable: `SCHEDULER_`, then its path in capitals, joined by two underscores. Variables win over
files. Lists and mappings are JSON, `null` is null, everything else is as in YAML; relative paths start from the working
directory.

| variable | is |
|---|---|
| `SCHEDULER_HTTP__PORT=9000` | `http: {port: 9000}` |
| `SCHEDULER_WATCHLIST='["AAPL", "NVDA"]'` | `watchlist: [AAPL, NVDA]` |
| `SCHEDULER_PROVIDERS__EDGAR__USER_AGENT="Jane Doe jane.doe@example.com"` | `providers: {edgar: {user_agent: ...}}` |
| `SCHEDULER_CONFIG` | the configuration file |
| `STATE_DIRECTORY` | the data directory where `service.data_dir` is not written; systemd sets it |
| `CREDENTIALS_DIRECTORY` | where systemd puts credentials, see Keys |

A `SCHEDULER_` variable that names no setting is a mistake, and said to be one.

## How values are written

| kind | is written | such as |
|---|---|---|
| duration | a number and `ms`, `s`, `m`, `h` or `d` | `250ms`, `30s`, `5m`, `2h`, `7d` |
| size | a number and `B`, `KB`, `MB`, `GB` or `TB`, in thousands | `500MB`, `2GB` |
| share | a percentage | `20%` |
| time | ISO 8601 with an offset | `2027-01-04T09:00:00-05:00` |
| path | a file or folder; `~/` is the home folder | `./data` |

A number alone is no duration and no size: it does not say what it counts.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _keys(), "## Sections\n"]
    parts += [_section(name) for name in PLAIN_SECTIONS]
    parts += [_retention(), _watchlist(), _providers(), _domains(), _schedules()]
    parts += [_section(name) for name in LATER_SECTIONS]
    return "\n".join(parts)


def _keys() -> str:
    keyed = [name for name, kind in _options().items() if issubclass(kind, KeyedOptions)]
    names = "\n".join(
        f"| `{name}` | `{key_variable(name)}` | `{key_variable(name)}_FILE` | `{key_variable(name).lower()}` |"
        for name in keyed
    )
    return f"""\
## Keys

A provider that wants a key is off without one; `check` and `status` say so. All keys that are found are used: the first
one as long as it works, then the next. They are read in this order:

1. `providers.<name>.api_keys`, in a file or as `SCHEDULER_PROVIDERS__<NAME>__API_KEYS`. A file with a key in it must be
   readable by its owner alone (mode 600); otherwise the program refuses to start.
2. the file that `providers.<name>.api_keys_file` names
3. the variable
4. the file that the variable with `_FILE` names: a mounted secret, say
5. systemd credentials (`LoadCredential=`): files in `$CREDENTIALS_DIRECTORY` whose names are or end with the one below

| provider | variable | variable for a file | credential |
|---|---|---|---|
{names}

Several keys in one variable or file stand on lines of their own, or between commas. Lines that begin with `#` are
comments. An empty variable or file counts as not set. A key is sent to the provider's own address and nowhere else,
never over plain `http://` to another machine, and never to the sandbox. It is shown in no log, page, error or document.
"""


def _section(path: str) -> str:
    kind = _kind(path)
    return f"### {path}\n\n{purpose_of(kind)}\n\n{table(settings_of(kind))}\n"


def _retention() -> str:
    kind = _kind("retention")
    own = _below("<domain>", settings_of(Kept))
    return f"### retention\n\n{purpose_of(kind)}\n\n{table(iter([*settings_of(kind), *own]))}\n"


def _watchlist() -> str:
    return f"""\
### watchlist

The stocks: a list of symbols, or of settings, or both. Or `{{file: watchlist.csv}}`: a table with a header line and the
columns `symbol`, `name`, `exchange`, `tags` (separated by blanks) and `priority`, of which only `symbol` is needed.

{table(settings_of(Watched))}
"""


def _providers() -> str:
    shared = f"""\
### providers

Who is asked. Every provider has these settings; what differs stands under its name.

{table(settings_of(ProviderOptions))}

#### providers.sandbox

{purpose_of(SandboxOptions)}

{table(settings_of(SandboxOptions))}
"""
    return "\n".join([shared, *(_provider(name, kind) for name, kind in _options().items())])


def _provider(name: str, kind: type[ProviderOptions]) -> str:
    shared = set(settings_of(ProviderOptions))
    own = [setting for setting in settings_of(kind) if setting not in shared]
    return f"#### providers.{name}\n\n{purpose_of(kind)}\n\n{table(iter(own))}\n"


def _domains() -> str:
    sources = "\n".join(
        f"| `{domain}` | {', '.join(f'`{source}` ({provider})' for source, provider in of_domain.items())} |"
        for domain, of_domain in source_providers().items()
    )
    return f"""\
### domains

What is kept of each stock, and which sources it is put together from, best first. A domain that is not written is not
fetched.

| domain | its sources (and whom they ask) |
|---|---|
{sources}

{table(iter([*settings_of(DomainSettings), *_below("sources[]", settings_of(SourceSettings))]))}

A source is fresh for a slot when it was last checked for one that is younger than `fresh_for`, less a tolerance of
10 %, at most 90 minutes: so a daily schedule with `24h` fetches daily.

A source that failed for a stock is left alone for it for 15 minutes, then for twice as long each time, at most for
`fresh_for`; after an outage at most for an hour (`backing_off`). A stock that it does not know three times in a row,
over more than a day, is quarantined there for 7 days, then for 14, then for 28 each time (`quarantined`; `status` names
it). `fetch --force` asks all the same, and `release` has the next slot ask.

A provider that goes on refusing (429) is asked less and less often: each refusal in a row
doubles the rest, up to an hour, never below what it asks for; its first answer ends that. It is said aloud once, then
summed up once an hour. A `fetch` waits a minute for a provider that is shut, or as long as `--wait` says, gives up what
is held for longer, and ends with exit code 1; in line at the rate that is set it waits as long as the line moves.
`release --provider NAME` has one request try at once what keeps failing; a wish to wait, rates and budgets hold.
A kept answer counts as checked when the provider was asked, not when it was read again.

An answer that reads well and is probably wrong is set aside (`doubtful`): figures that changed by more than a fifth
though no new filing says so, half of them gone or zero, periods older than those that are known, another company's
filings. The document stays as it is, with its age; a warning and `status`, `why` and `show` say what is doubtful, with
the old and the new value. The source is asked again after 6 hours, then after twice as long each time, at most after
`fresh_for`, and with `fetch --force` at once; its next answer that is not doubtful ends it. However often it says the
same, what was confirmed stays until a person decides: `release SYMBOL DOMAIN` accepts what was set aside,
`release SYMBOL DOMAIN --reject` drops it, and the same answer is not named again. Only what was said a single time, or
only as an older version of the program read it, gives way by itself: to the same contrary answer, three times over a
day or longer. News are never doubted: feeds forget, and kept stories stay.
"""


def _schedules() -> str:
    return f"### schedules\n\n{purpose_of(ScheduleSettings)} A list of:\n\n{table(settings_of(ScheduleSettings))}\n"


def _kind(section: str) -> type[BaseModel]:
    return type(Configuration.model_fields[section].default)


def _below(path: str, settings: Iterable[Setting]) -> list[Setting]:
    return [setting._replace(key=f"{path}.{setting.key}") for setting in settings]


def _options() -> dict[str, type[ProviderOptions]]:
    return {name: client.Options for name, client in sorted(discover().items())}


if __name__ == "__main__":
    sys.stdout.write(page())
