"""How far the demo's history has been lived, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

from django.db import models

from adplatform.demo.tally import Tally


class DemoDay(models.Model):
    """One UTC day that is complete, with what it came to."""

    date = models.DateField(primary_key=True)
    requests = models.PositiveIntegerField()
    ads = models.PositiveIntegerField()
    clicks = models.PositiveIntegerField()
    orders = models.PositiveIntegerField()

    class Meta:
        ordering = ["date"]

    def __str__(self) -> str:
        return str(self.date)

    @property
    def tally(self) -> Tally:
        return Tally(self.requests, self.ads, self.clicks, self.orders)
