"""Sites and ad slots as the API reads and writes them."""

from __future__ import annotations

from typing import Annotated

from ninja import Schema
from pydantic import Field, field_validator

from adplatform.api.schemas.base import MOST_MICROS, Name, Read
from adplatform.inventory import passback as passbacks
from adplatform.inventory.models import AdFormat, Fallback


class SiteOut(Schema):
    public_id: str
    name: str
    domain: str
    description: str
    category: str
    language: str
    currency: str
    is_active: bool
    ads_per_advertiser: int
    separates_categories: bool
    variety: float


class SiteChange(Read):
    """What the site demands; `variety` 0 to 1: how much less an ad counts whose advertiser a visitor saw lately."""

    ads_per_advertiser: Annotated[int, Field(ge=1, le=10)] | None = None
    separates_categories: bool | None = None
    variety: Annotated[float, Field(ge=0, le=1)] | None = None


class SlotChange(Read):
    name: Name | None = None
    format: AdFormat | None = None
    width: Annotated[int, Field(ge=1, le=10_000)] | None = None
    height: Annotated[int, Field(ge=1, le=10_000)] | None = None
    position: Annotated[int, Field(ge=1, le=1_000)] | None = None
    floor_micros: Annotated[int, Field(ge=0, le=MOST_MICROS)] | None = None
    is_active: bool | None = None
    ads_per_advertiser: Annotated[int, Field(ge=1, le=10)] | None = None
    fallback: Fallback | None = None
    passback: str | None = None

    @field_validator("passback")
    @classmethod
    def _loads_https_alone(cls, value: str | None) -> str | None:
        return None if value is None else passbacks.checked(value)


class SlotNew(SlotChange):
    name: Name


class SlotOut(Schema):
    public_id: str
    site: str = Field(alias="site.public_id")
    name: str
    format: AdFormat
    width: int
    height: int
    position: int
    floor_micros: int
    is_active: bool
    ads_per_advertiser: int | None
    fallback: Fallback
    passback: str
