"""The form in which an operator sets when a job runs, over the tables that Celery's scheduler reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.schedules import ParseException, crontab
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from adplatform.core.forms import RadioCards

INTERVAL, CRONTAB = "interval", "crontab"
SIZES = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
LEAST_SECONDS = 5
# What the part of the form that is not chosen holds, so that choosing it starts from something sensible.
USUAL = {"every": 5, "unit": "minutes", "times": "0 2 * * *"}
CRONTAB_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


class ScheduleForm(forms.Form):
    """Every so often, or at moments named as in a crontab (UTC)."""

    kind = forms.ChoiceField(
        label=gettext_lazy("When it runs"),
        choices=[(INTERVAL, gettext_lazy("At an interval")), (CRONTAB, gettext_lazy("At set times"))],
        widget=RadioCards(
            hints={
                INTERVAL: gettext_lazy("Every few seconds, minutes or hours"),
                CRONTAB: gettext_lazy("Such as every night at 02:00 UTC"),
            }
        ),
    )
    every = forms.IntegerField(label=gettext_lazy("Every"), min_value=1, max_value=10_000)
    unit = forms.ChoiceField(
        label=gettext_lazy("Unit"),
        choices=[
            ("seconds", gettext_lazy("seconds")),
            ("minutes", gettext_lazy("minutes")),
            ("hours", gettext_lazy("hours")),
            ("days", gettext_lazy("days")),
        ],
    )
    times = forms.CharField(
        label=gettext_lazy("Set times"),
        max_length=120,
        help_text=gettext_lazy(
            "Minute, hour, day of month, month, day of week, in UTC: “0 2 * * *” is every night at 02:00."
        ),
    )
    enabled = forms.BooleanField(label=gettext_lazy("Run by this schedule"), required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("kind") == INTERVAL:
            self._check_interval(values)
        elif values.get("kind") == CRONTAB:
            self._check_times(values)
        return values

    def _check_interval(self, values: dict[str, Any]) -> None:
        seconds = (values.get("every") or LEAST_SECONDS) * SIZES[values.get("unit") or "seconds"]
        if seconds < LEAST_SECONDS:
            self.add_error("every", _("A job runs at most every %(n)s seconds.") % {"n": LEAST_SECONDS})

    def _check_times(self, values: dict[str, Any]) -> None:
        if "times" in self.errors:
            return
        parts = str(values["times"]).split()
        if len(parts) != len(CRONTAB_FIELDS):
            self.add_error("times", _("Write five fields: minute, hour, day of month, month, day of week."))
            return
        try:
            crontab(**dict(zip(CRONTAB_FIELDS, parts, strict=True)))
        except (ParseException, ValueError) as error:
            self.add_error("times", _("This is not a set of times: %(why)s") % {"why": error})


def form_for(task: PeriodicTask | None) -> ScheduleForm:
    """The form as the schedule stands."""
    if task is not None and task.crontab is not None:
        moment = task.crontab
        times = " ".join(str(getattr(moment, name)) for name in CRONTAB_FIELDS)
        return ScheduleForm(initial={**USUAL, "kind": CRONTAB, "times": times, "enabled": task.enabled})
    seconds = (
        int(task.schedule.run_every.total_seconds())
        if task is not None and task.interval is not None
        else 300
    )
    unit = next(name for name in reversed(SIZES) if seconds % SIZES[name] == 0)
    enabled = task.enabled if task is not None else True
    return ScheduleForm(
        initial={
            **USUAL,
            "kind": INTERVAL,
            "every": seconds // SIZES[unit],
            "unit": unit,
            "enabled": enabled,
        }
    )


def apply_schedule(
    task: PeriodicTask | None, *, name: str, title: str, queue: str, form: ScheduleForm
) -> PeriodicTask:
    """Write what a valid form says; a job that had no schedule gets one."""
    values = form.cleaned_data
    row = task or PeriodicTask(name=title, task=name, queue=queue)
    row.interval, row.crontab, row.solar, row.clocked = None, None, None, None
    if values["kind"] == INTERVAL:
        seconds = int(timedelta(**{values["unit"] or "seconds": values["every"]}).total_seconds())
        row.interval, _new = IntervalSchedule.objects.get_or_create(
            every=seconds, period=IntervalSchedule.SECONDS
        )
        row.expire_seconds = max(60, 2 * seconds)
    else:
        fields = dict(zip(CRONTAB_FIELDS, values["times"].split(), strict=True))
        row.crontab, _new = CrontabSchedule.objects.get_or_create(**fields, timezone="UTC")
        row.expire_seconds = 6 * 3_600
    row.enabled = values["enabled"]
    row.save()
    return row
