"""The ads role as granian loads it in each worker: warm before the first request comes. No Django here."""

from __future__ import annotations

from . import process
from .wsgi import application

__all__ = ["application"]

process.server()
