"""Scheduled jobs and what each run did. The schedule itself stands in django_celery_beat's tables."""

from __future__ import annotations

from django.db import models


class Job(models.Model):
    """One scheduled job; `name` is what `manage.py jobs run NAME` takes."""

    name = models.CharField(max_length=60, primary_key=True)
    title = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    queue = models.CharField(max_length=20, default="default")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class JobRun(models.Model):
    """One run of a job for one slot (the UTC moment that the schedule names). A slot runs to success at most once."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    class Trigger(models.TextChoices):
        SCHEDULE = "schedule", "Schedule"
        CONSOLE = "console", "Run now"
        COMMAND = "command", "Command line"

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="runs")
    slot = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    trigger = models.CharField(max_length=10, choices=Trigger.choices, default=Trigger.SCHEDULE)
    requested_by = models.CharField(
        max_length=120, blank=True, help_text="Who asked for it, where a person did"
    )
    is_dry_run = models.BooleanField(default=False)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    summary = models.TextField(blank=True)
    counts = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    progress_done = models.PositiveIntegerField(default=0)
    progress_total = models.PositiveIntegerField(default=0)
    attempt = models.PositiveSmallIntegerField(default=1)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "slot"], condition=models.Q(is_dry_run=False), name="one_run_per_job_and_slot"
            ),
            models.CheckConstraint(
                condition=models.Q(finished_at__isnull=True)
                | models.Q(finished_at__gte=models.F("started_at")),
                name="run_ends_after_it_starts",
            ),
        ]
        indexes = [models.Index(fields=["job", "-started_at"], name="jobrun_latest")]

    def __str__(self) -> str:
        return f"{self.job_id} {self.slot:%Y-%m-%d %H:%M}"

    @property
    def duration_seconds(self) -> float | None:
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None
