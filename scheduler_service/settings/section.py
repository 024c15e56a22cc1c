"""What every section of the configuration shares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from scheduler_service.settings.tree import Written


class Section(BaseModel):
    """Frozen; nothing unknown gets in, and ``true`` does not pass for the number 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and _is_number(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError(f"{str(value).lower()} is not a number; write one")
        return value


def _is_number(annotation: Any) -> bool:
    kinds = {annotation, *get_args(annotation)}
    return bool(kinds & {int, float}) and bool not in kinds


def _from_its_folder(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip() or "\0" in value:
        raise ValueError("this is not a path; write one such as ./data")
    path = Path(value).expanduser() if value.startswith("~/") else Path(value)
    return Path(os.path.normpath(value.folder / path)) if isinstance(value, Written) else path


LocalPath = Annotated[Path, BeforeValidator(_from_its_folder)]
"""A path; a relative one starts from the folder of the file it is written in (from the working directory elsewhere)."""
