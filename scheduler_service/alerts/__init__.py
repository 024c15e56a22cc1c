"""What is told to people elsewhere: notices on their way to channels."""

from __future__ import annotations
