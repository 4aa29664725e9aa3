"""Jobs and their runs. Schedules are shown here and edited in the console: the forms that django-celery-beat brings
need an inline script, which the Content-Security-Policy forbids."""

from __future__ import annotations

from django.contrib import admin
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from adplatform.core.admin import ReadOnlyAdmin
from adplatform.jobs.models import Job, JobRun

admin.site.unregister([ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule])


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["name", "title", "queue"]
    search_fields = ["name", "title"]


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    list_display = [
        "job",
        "slot",
        "status",
        "trigger",
        "is_dry_run",
        "started_at",
        "finished_at",
        "summary",
        "attempt",
    ]
    list_filter = ["status", "trigger", "is_dry_run", "job"]
    search_fields = ["summary", "error"]


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(ReadOnlyAdmin):
    list_display = ["name", "task", "schedule", "enabled", "last_run_at", "total_run_count"]
    list_filter = ["enabled"]
    search_fields = ["name", "task"]
