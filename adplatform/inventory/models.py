"""A publisher's supply: sites and the ad slots on them, and what it demands of the ads that fill them."""

from __future__ import annotations

import secrets
import uuid

from django.db import models
from django.db.models import Q

from adplatform.accounts.models import Organisation, User
from adplatform.core.models import TimeStamped


def new_public_id() -> str:
    return secrets.token_hex(6)


class Category(TimeStamped):
    """What sites and ads are about, as the operator orders it: each category lies in at most one other.

    Sites and campaigns name their category by `name`; names are compared without case.
    """

    name = models.CharField(max_length=60, unique=True, help_text="In small letters")
    description = models.CharField(
        max_length=400, blank=True, help_text="A few words more: the encoder reads them with the name"
    )
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    @property
    def text(self) -> str:
        """What the encoder reads."""
        return f"{self.name}. {self.description}" if self.description else self.name


class CategoryLink(models.Model):
    """How closely two categories are related beyond lying in one another: 0 not at all, 1 the same to a reader.

    It holds both ways; `first` is the one with the smaller key.
    """

    first = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="+")
    weight = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="two_categories_are_linked_once"),
            models.CheckConstraint(
                condition=Q(first__lt=models.F("second")), name="a_link_joins_two_categories"
            ),
            models.CheckConstraint(
                condition=Q(weight__gt=0) & Q(weight__lte=1), name="a_link_weighs_at_most_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first} – {self.second}"


class Site(TimeStamped):
    """A publisher's site. Ads are shown only when their currency is the site's."""

    publisher = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="sites")
    public_id = models.CharField(max_length=12, unique=True, default=new_public_id, editable=False)
    name = models.CharField(max_length=120)
    domain = models.CharField(max_length=253)
    description = models.TextField(
        blank=True, help_text="What the site is about: the encoder reads it where a visitor has no profile"
    )
    category = models.CharField(max_length=60, blank=True)
    language = models.CharField(max_length=8, default="en")
    currency = models.CharField(max_length=3, default="USD")
    time_zone = models.CharField(max_length=40, default="UTC")
    is_active = models.BooleanField(default=True)
    ads_per_advertiser = models.PositiveSmallIntegerField(
        default=1, db_default=1, help_text="Most ads of one advertiser in one answer"
    )
    separates_categories = models.BooleanField(
        default=True, db_default=True, help_text="Advertisers of one category never stand together"
    )
    variety = models.FloatField(
        default=0.0,
        db_default=0.0,
        help_text="0 to 1: how much less an ad counts whose advertiser or category the visitor saw lately",
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["publisher", "domain"], name="one_site_per_publisher_and_domain"),
            models.CheckConstraint(
                condition=Q(ads_per_advertiser__gte=1), name="an_advertiser_may_have_an_ad"
            ),
            models.CheckConstraint(
                condition=Q(variety__gte=0) & Q(variety__lte=1), name="variety_lies_between_0_and_1"
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="site_currency_is_iso_4217"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AdFormat(models.TextChoices):
    BANNER = "banner", "Banner"
    NATIVE = "native", "Native (headline and text)"


class Fallback(models.TextChoices):
    """What stands in a slot that no paid ad won, in which order."""

    HOUSE_FIRST = "house_first", "A house ad, else the passback"
    PASSBACK_FIRST = "passback_first", "The passback, else a house ad"
    NOTHING = "nothing", "Nothing"


class AdSlot(TimeStamped):
    """A place on a site that an ad can fill. Its floor is the least eCPM that it is sold for."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="slots")
    public_id = models.CharField(max_length=12, unique=True, default=new_public_id, editable=False)
    name = models.CharField(max_length=120)
    format = models.CharField(max_length=10, choices=AdFormat.choices, default=AdFormat.BANNER)
    width = models.PositiveIntegerField(default=300)
    height = models.PositiveIntegerField(default=250)
    position = models.PositiveSmallIntegerField(default=1, help_text="1 is the top of the page")
    floor_micros = models.BigIntegerField(
        default=0, help_text="Least price of 1,000 impressions, in micros of the site's currency"
    )
    is_active = models.BooleanField(default=True)
    ads_per_advertiser = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Most ads of one advertiser in one answer; empty: as on the site"
    )
    fallback = models.CharField(
        max_length=14, choices=Fallback.choices, default=Fallback.HOUSE_FIRST, db_default="house_first"
    )
    passback = models.TextField(
        blank=True, db_default="", help_text="Another ad server's tag: an https URL, or HTML"
    )

    class Meta:
        ordering = ["site", "position", "name"]
        constraints = [
            models.CheckConstraint(condition=Q(floor_micros__gte=0), name="floor_is_not_negative"),
            models.CheckConstraint(condition=Q(width__gte=1) & Q(height__gte=1), name="slot_has_a_size"),
            models.UniqueConstraint(fields=["site", "name"], name="one_slot_per_site_and_name"),
        ]

    def __str__(self) -> str:
        return f"{self.site} · {self.name}"


class CreativeAttribute(models.TextChoices):
    """What an ad is like beyond its format, size and language; said by its advertiser, checked in review."""

    ANIMATED = "animated", "Animated"
    VIDEO = "video", "Video"
    SOUND = "sound", "Sound"
    EXPANDING = "expanding", "Grows beyond its slot"
    ALCOHOL = "alcohol", "Alcohol"
    DATING = "dating", "Dating"
    FINANCE = "finance", "Loans, trading, cryptocurrency"
    GAMBLING = "gambling", "Gambling"
    HEALTH = "health", "Medicine, weight loss"
    POLITICS = "politics", "Politics"
    RELIGION = "religion", "Religion"
    WEAPONS = "weapons", "Weapons"


class Scoped(TimeStamped):
    """What a publisher says for all its sites, for one site, or for one slot; taken away, it stays readable."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    publisher = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="%(class)ss")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="%(class)ss")
    slot = models.ForeignKey(
        AdSlot, on_delete=models.PROTECT, null=True, blank=True, related_name="%(class)ss"
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def covers(self, slot: AdSlot) -> bool:
        """Whether it holds in this slot of the publisher's."""
        return self.site_id in (None, slot.site_id) and self.slot_id in (None, slot.pk)


class BlockRule(Scoped):
    """Ads that the publisher does not want: of an advertiser, a category with all below it, a landing domain with all
    its subdomains, or with an attribute (a CreativeAttribute, `language:de`, `format:native`, `size:300x250`)."""

    class Kind(models.TextChoices):
        ADVERTISER = "advertiser", "Advertiser"
        CATEGORY = "category", "Category"
        DOMAIN = "domain", "Landing domain"
        ATTRIBUTE = "attribute", "Attribute of the ad"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    advertiser = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    value = models.CharField(max_length=253, blank=True, help_text="Category, domain or attribute")
    forecast = models.JSONField(
        default=dict, blank=True, help_text="The cost that was shown before it was saved"
    )

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["publisher", "site", "slot", "kind", "advertiser", "value"],
                condition=Q(removed_at__isnull=True),
                nulls_distinct=False,
                name="a_block_is_said_once",
            ),
            models.CheckConstraint(
                condition=Q(kind="advertiser", advertiser__isnull=False, value="")
                | (~Q(kind="advertiser") & Q(advertiser__isnull=True) & ~Q(value="")),
                name="a_block_names_what_it_blocks",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.advertiser or self.value}"

    @property
    def earned_share(self) -> float | None:
        """Of what the publisher earned in the seven days before it was added."""
        share: float | None = self.forecast.get("earned_share")
        return share


class FloorRule(Scoped):
    """Least eCPM of a site's slots, or of one, where the visitor is in a country or on a device. The rule that names
    most holds (docs/serving.md); the slot's own floor counts as one that names the slot alone."""

    class Device(models.TextChoices):
        DESKTOP = "desktop", "Computers"
        MOBILE = "mobile", "Phones"
        TABLET = "tablet", "Tablets"

    country = models.CharField(max_length=2, blank=True)
    device = models.CharField(max_length=10, choices=Device.choices, blank=True)
    floor_micros = models.BigIntegerField(help_text="Of 1,000 impressions, in micros of the site's currency")

    class Meta:
        ordering = ["site", "slot", "country", "device", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["site", "slot", "country", "device"],
                condition=Q(removed_at__isnull=True),
                nulls_distinct=False,
                name="a_floor_is_said_once",
            ),
            models.CheckConstraint(condition=Q(site__isnull=False), name="a_floor_rule_has_a_currency"),
            models.CheckConstraint(
                condition=Q(slot__isnull=True) | ~Q(country="") | ~Q(device=""),
                name="a_floor_rule_says_more_than_its_slot",
            ),
            models.CheckConstraint(condition=Q(floor_micros__gte=0), name="a_ruled_floor_is_not_negative"),
            models.CheckConstraint(
                condition=Q(country="") | Q(country__regex=r"^[A-Z]{2}$"), name="country_is_iso_3166"
            ),
        ]

    def __str__(self) -> str:
        named = [part for part in (self.country, self.get_device_display() if self.device else "") if part]
        return " · ".join([str(self.slot or self.site), *named])


class HouseAd(Scoped):
    """A publisher's own ad, shown where no paid ad wins. Free, never billed, and no fill."""

    name = models.CharField(max_length=120)
    format = models.CharField(max_length=10, choices=AdFormat.choices, default=AdFormat.BANNER)
    width = models.PositiveIntegerField(default=300)
    height = models.PositiveIntegerField(default=250)
    headline = models.CharField(max_length=90)
    body = models.CharField(max_length=300, blank=True)
    call_to_action = models.CharField(max_length=40, blank=True)
    landing_url = models.URLField(max_length=2000)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(landing_url__startswith="https://"), name="a_house_ad_leads_to_https"
            )
        ]

    def __str__(self) -> str:
        return self.name


class CompetingPair(TimeStamped):
    """Two advertisers that a publisher never shows together; `first` is the one with the smaller key."""

    publisher = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="competing_pairs")
    first = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    second = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["publisher", "first", "second"], name="two_competitors_are_named_once"
            ),
            models.CheckConstraint(
                condition=Q(first__lt=models.F("second")), name="a_pair_has_two_advertisers"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first} – {self.second}"
