from django.apps import AppConfig
from django.db.models.signals import post_migrate


class JobsConfig(AppConfig):
    name = "adplatform.jobs"

    def ready(self) -> None:
        # Shared tasks find their broker through the one Celery application, so it exists before the first .delay().
        from adplatform import celery  # noqa: F401
        from adplatform.jobs.schedules import seed_after_migrate

        post_migrate.connect(seed_after_migrate, sender=self, dispatch_uid="seed the default schedules")
