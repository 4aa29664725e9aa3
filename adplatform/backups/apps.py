from django.apps import AppConfig


class BackupsConfig(AppConfig):
    name = "adplatform.backups"
    label = "backups"
