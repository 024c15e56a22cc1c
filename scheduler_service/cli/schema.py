"""``schema``: what a domain's documents look like, as JSON Schema."""

from __future__ import annotations

import click

from scheduler_service.cli.terminal import print_json
from scheduler_service.document_schema import schemas
from scheduler_service.redaction import escape


def schema(domain: str) -> int:
    """Raises ``click.UsageError`` with the known domains. Needs no configuration."""
    known = schemas()
    if domain not in known:
        raise click.UsageError(escape(f"there is no domain {domain!r}; known here: {', '.join(known)}"))
    print_json(known[domain])
    return 0
