"""The ads role as granian loads it in each worker: warm before the first request comes. No Django here."""

from __future__ import annotations

import gc
import sys

from . import process
from .wsgi import application

__all__ = ["application"]

process.server()
# A full collection walks all that was imported and loaded, for some 30 ms in which nobody is answered: spare it that.
gc.collect()
gc.freeze()
# What happens in the background gives way to a request after a millisecond instead of five.
sys.setswitchinterval(0.001)
