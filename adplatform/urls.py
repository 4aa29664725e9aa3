"""Where each page lives. The ad and event endpoints are answered before Django (adplatform.serving.wsgi)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("console/", include("adplatform.console.urls")),
    path("", include("adplatform.api.urls")),
    path("", include("adplatform.portal.urls")),
]
