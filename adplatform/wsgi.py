"""One callable, two layers: the hot path answers ad and event requests before Django's handler sees them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adplatform.settings")

from adplatform.serving import wsgi as hot

_pages = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    answer = hot.respond(environ, start_response)
    return _pages(environ, start_response) if answer is None else answer
