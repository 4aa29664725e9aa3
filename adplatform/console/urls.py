from __future__ import annotations

from django.urls import path

from adplatform.console import (
    annotation,
    audit,
    jobs,
    learning,
    money,
    overview,
    quality,
    review,
    tenants,
    traffic,
)

app_name = "console"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("chart.json", overview.chart, name="overview_chart"),
    path("numbers.csv", overview.export, name="overview_csv"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/<slug:name>/", jobs.job, name="job"),
    path("jobs/<slug:name>/run/", jobs.run_now, name="job_run"),
    path("jobs/<slug:name>/schedule/", jobs.schedule, name="job_schedule"),
    path("jobs/<slug:name>/switch/", jobs.switch, name="job_switch"),
    path("review/", review.queue, name="review"),
    path("review/<uuid:public_id>/", review.verdict, name="review_verdict"),
    path("review/<uuid:public_id>/undo/", review.undo, name="review_undo"),
    path("labels/", annotation.tasks, name="annotations"),
    path("labels/new/", annotation.create, name="annotation_create"),
    path("labels/<uuid:public_id>/", annotation.task, name="annotation"),
    path("labels/<uuid:public_id>/label/", annotation.label, name="annotation_label"),
    path("labels/<uuid:public_id>/undo/", annotation.undo, name="annotation_undo"),
    path("labels/<uuid:public_id>/labels.csv", annotation.export, name="annotation_csv"),
    path("traffic/", traffic.traffic, name="traffic"),
    path("money/", money.money, name="money"),
    path("money/deposit/", money.deposit, name="deposit"),
    path("money/verify/", money.verify, name="verify"),
    path("models/", learning.models, name="models"),
    path("models/rollback/", learning.rollback, name="rollback"),
    path("models/progress/", learning.progress, name="models_progress"),
    path("models/trainings/<int:pk>/", learning.training, name="training"),
    path("models/trainings/<int:pk>/<slug:figure>.json", learning.training_figure, name="training_figure"),
    path("models/searches/<int:pk>.json", learning.search_figure, name="search_figure"),
    path("models/<slug:name>/", learning.model, name="model"),
    path("models/<slug:name>/<slug:action>/", learning.stage, name="model_stage"),
    path("data/", quality.quality, name="quality"),
    path("data/drift.json", quality.drift_chart, name="quality_drift"),
    path("organisations/", tenants.tenants, name="tenants"),
    path("organisations/<uuid:public_id>/", tenants.tenant, name="tenant"),
    path("audit/", audit.audit, name="audit"),
]
