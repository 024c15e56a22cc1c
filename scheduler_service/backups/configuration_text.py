"""Configuration as text for other eyes: without what is secret in it, and without what only looks so.

What a file sets is known from its tree, also where a later file overrides it. Of comments nobody knows what they once
were: there, of an address only the host stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import BaseModel, SecretStr

from scheduler_service.redaction import MARK, Secrets
from scheduler_service.settings.tree import Where, walk
from scheduler_service.settings.yaml_file import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from scheduler_service.errors import Problem

_NAME = r"(?:\w*(?:api_?key|_key|password|passwd|secret|token|credential|authorization)s?|ping_url)"
_SET = rf"(?<![\w-]){_NAME}[\"']?\s*[:=]\s*"
_NAMED = re.compile(rf"(?i)({_SET})(\[[^\]\n]*\]?|\"[^\"\n]*\"|'[^'\n]*'|[^\s,}}\]#\[][^,}}\n]*)")
_OPENS = re.compile(rf"(?i){_SET}(?:\[[^\]\n]*|[>|][-+0-9]*)?\s*(?:#.*)?$")
"""Its value stands on the lines below."""
_BELOW = re.compile(r"([\s#]*(?:-\s+)?)(.*)", re.DOTALL)
_ANOTHER_KEY = re.compile(r"[\s#]*[\w.\"'-]+\s*[:=](\s|$)")
_USER = re.compile(r"(?i)([a-z][a-z0-9+.-]*://)([^/\s@\"']+)(?=@)")
_QUERY = re.compile(r"(?i)([?&][\w-]*(?:key|token|secret|password|sig)[\w-]*=)([^&\s\"']+)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_PATH = re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^/\s\"'\],}]+/)([^\s\"'\],}]+)")
_LIKE_A_KEY = re.compile(r"(?<![\w.-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}")


def secret_paths(sections: Mapping[str, object], above: str = "") -> Iterator[str]:
    """``alerts.urls``: the settings whose type is a secret, or a list of them."""
    for name, section in sections.items():
        if isinstance(section, BaseModel):
            kinds = {key: str(field.annotation) for key, field in type(section).model_fields.items()}
            yield from (f"{above}{name}.{key}" for key, kind in kinds.items() if SecretStr.__name__ in kind)
            yield from secret_paths(dict(section), f"{above}{name}.")
        elif isinstance(section, dict):
            yield from secret_paths(section, f"{above}{name}.")


def without_secrets(text: str, known: Collection[str], paths: Collection[str]) -> str:
    """``known``: secrets of whatever place; ``paths``: the settings that hold some."""
    problems: list[Problem] = []
    tree = parse_yaml(text, Where(""), problems)
    secrets = Secrets()
    for secret in known:
        secrets.register(secret)
    for path, node in walk(tree) if tree is not None else ():
        setting = re.sub(r"(\[[^\]]*\])+$", "", path)
        if isinstance(node.value, str) and (setting in paths or re.fullmatch(f"(?i){_NAME}", setting.split(".")[-1])):
            secrets.register(node.value)
    understood = tree is not None and not problems
    return "".join(_lines_without(secrets.redact(text), understood=understood))


def _lines_without(text: str, *, understood: bool) -> Iterator[str]:
    below = False
    for line in text.splitlines(keepends=True):
        content, end = line.rstrip("\r\n"), line[len(line.rstrip("\r\n")) :]
        below = below and not _ANOTHER_KEY.match(content)
        if below and content.strip(" \t#"):
            yield _BELOW.sub(lambda match: match[1] + MARK, content, count=1) + end
            below = "]" not in content
            continue
        below = below or _OPENS.search(content) is not None
        content = _NAMED.sub(_marked, content)
        content = _QUERY.sub(_marked, _USER.sub(_marked, content))
        yield (_COMMENT.sub(lambda match: _doubtful(match[0]), content) if understood else _doubtful(content)) + end


def _doubtful(text: str) -> str:
    return _LIKE_A_KEY.sub(MARK, _PATH.sub(_marked, text))


def _marked(match: re.Match[str]) -> str:
    return match[1] + MARK
