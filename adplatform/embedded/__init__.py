"""Local PostgreSQL and Valkey for a bare machine, from programs that two wheels carry.

``DATABASE_URL``, ``REDIS_URL`` and ``EVENTS_URL`` replace them one by one. Standard library only, no Django:
`make` uses parts of it before anything is installed.
"""

from adplatform.embedded.places import LaunchError, var_dir
from adplatform.embedded.servers import ensure, repair, running, stop, urls

__all__ = ["LaunchError", "ensure", "repair", "running", "stop", "urls", "var_dir"]
