"""What every app may lean on: time stamps, and the outbox through which a lower layer tells a higher one."""

from __future__ import annotations

from django.db import models


class TimeStamped(models.Model):
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Outbox(models.Model):
    """A change that something above must hear of, written in the same transaction as the change.

    The publisher process listens, acts once per row and stamps `done_at`; `topic` names what changed.
    """

    topic = models.CharField(max_length=40)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    done_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        verbose_name_plural = "outbox"
        indexes = [
            models.Index(fields=["id"], name="outbox_waiting", condition=models.Q(done_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.pk}"
