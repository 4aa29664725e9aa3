from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "adplatform.serving"
