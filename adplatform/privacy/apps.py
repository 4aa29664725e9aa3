from django.apps import AppConfig


class PrivacyConfig(AppConfig):
    name = "adplatform.privacy"
    label = "privacy"
