"""What the scheduled bidding jobs decided."""

from __future__ import annotations

from django.db import models

from adplatform.campaigns.models import Campaign


class Pace(models.Model):
    """How fast a campaign may spend now. `multiplier` scales its bids; `state` is what decision.pacing carries on."""

    campaign = models.OneToOneField(Campaign, on_delete=models.CASCADE, related_name="pace")
    multiplier = models.FloatField(default=1.0)
    target_micros = models.BigIntegerField(default=0, help_text="What the last tick should have spent")
    spent_micros = models.BigIntegerField(default=0, help_text="What it did spend")
    state = models.JSONField(default=dict)
    computed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(multiplier__gte=0) & models.Q(multiplier__lte=3), name="pace_is_sane"
            )
        ]

    def __str__(self) -> str:
        return f"{self.campaign} ×{self.multiplier:.2f}"
