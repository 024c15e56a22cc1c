"""What several commands take."""

from __future__ import annotations

import click

STATUSES = ("queued", "running", "completed", "skipped", "failed", "ran", "caught_up", "coalesced", "missed")
"""States of tasks and outcomes of slots."""
TIMES = "Such as 2027-01-04T09:00:00Z; by the clocks of service.timezone 2027-01-04T09:00, 2027-01-04 or 09:00; now."

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON value on standard output.")


class WholeNumber(click.IntRange):
    """Named as people call it where something else was given."""

    name = "whole number"
