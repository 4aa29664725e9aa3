"""What a page says after a change."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest


def success(request: HttpRequest, text: str) -> None:
    messages.success(request, text)


def error(request: HttpRequest, text: str) -> None:
    messages.error(request, text)
