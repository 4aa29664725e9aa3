from django.apps import AppConfig
from django.db.backends.signals import connection_created


class CoreConfig(AppConfig):
    name = "adplatform.core"

    def ready(self) -> None:
        from adplatform.core.tenants import on_new_connection

        connection_created.connect(on_new_connection, dispatch_uid="the role of the task that runs")
