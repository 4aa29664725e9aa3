from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "adplatform.events"
