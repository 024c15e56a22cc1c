"""What every section of the configuration shares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from scheduler_service.settings.tree import Written


class Section(BaseModel):
    """Frozen; nothing unknown gets in. ``true`` does not pass for the number 1, nor does text for either: in files
    alone, for variables hold nothing but text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and _is_number(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError(f"{str(value).lower()} is not a number; write one")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _text_is_neither(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[info.field_name or ""]
        kinds = {field.annotation, *get_args(field.annotation)}
        if bool in kinds and value is not None and not isinstance(value, bool):
            known = {"true": True, "false": False}.get(str(value).lower())
            if isinstance(value, Written) and value.in_variable and known is not None:
                return known
            raise PydanticCustomError("bool_type", "true or false is needed")
        if isinstance(value, Written) and not value.in_variable and _is_read_as_number(field, kinds):
            raise PydanticCustomError("int_type" if int in kinds else "float_type", "a number is needed")
        return value


def _is_number(annotation: Any) -> bool:
    kinds = {annotation, *get_args(annotation)}
    return bool(kinds & {int, float}) and bool not in kinds


def _is_read_as_number(field: FieldInfo, kinds: set[Any]) -> bool:
    """Not where it is written as text and read by this program, as durations are."""
    return bool(kinds & {int, float}) and not any(isinstance(how, BeforeValidator) for how in field.metadata)


def _from_its_folder(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip() or "\0" in value:
        raise ValueError("this is not a path; write one such as ./data")
    path = Path(value).expanduser() if value.startswith("~/") else Path(value)
    return Path(os.path.normpath(value.folder / path)) if isinstance(value, Written) else path


LocalPath = Annotated[Path, BeforeValidator(_from_its_folder)]
"""A path; a relative one starts from the folder of the file it is written in (from the working directory elsewhere)."""
