"""The flow tests that serve ads use the fixtures of tests/serving."""

from tests.serving.conftest import ask, serve

__all__ = ["ask", "serve"]
