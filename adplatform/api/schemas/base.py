"""What all parts of the API share. Amounts are integer micros of the organisation's currency, times carry a zone."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field, field_validator

MOST_MICROS = 10**15  # a billion units: more is a mistake in the unit

Name = Annotated[str, Field(min_length=1, max_length=120)]
Micros = Annotated[int, Field(gt=0, le=MOST_MICROS, strict=True)]


class Read(Schema):
    """What is asked of us: an unknown field is a mistake, not something to pass over."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="after")
    @classmethod
    def _text_can_be_stored(cls, value: Any) -> Any:
        """PostgreSQL holds every character but NUL."""
        if isinstance(value, str) and "\x00" in value:
            raise ValueError("Text cannot hold the character NUL.")
        return value


class OrganisationOut(Schema):
    public_id: UUID
    name: str
    kind: str
    currency: str
    time_zone: str
