"""The publisher's pages; their names begin with publisher_ and belong to the portal."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
