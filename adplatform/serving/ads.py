"""The ads role as granian loads it in each worker: warm before the first request comes. No Django here."""

from __future__ import annotations

import gc

from . import process
from .wsgi import application

__all__ = ["application"]

process.server()
# A full collection walks all that was imported and loaded, for some 30 ms in which nobody is answered: spare it that.
gc.collect()
gc.freeze()
