from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "adplatform.jobs"

    def ready(self) -> None:
        # Shared tasks find their broker through the one Celery application, so it exists before the first .delay().
        from adplatform import celery  # noqa: F401
