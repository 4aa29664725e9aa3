"""A published market behind the endpoints, as the tests of serving have it."""

from tests.serving.conftest import ask, serve

__all__ = ["ask", "serve"]
