"""The tests of the ads role use the fixtures of tests/serving."""

from tests.serving.conftest import ask, serve

__all__ = ["ask", "serve"]
