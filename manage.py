#!/usr/bin/env python
"""Every command of the platform. Commands that need PostgreSQL or Valkey start the embedded ones first."""

import os
import sys

from adplatform import embedded

# These touch no server, or (up) look after the servers themselves.
SERVERLESS = {
    "",
    "help",
    "version",
    "up",
    "assets",
    "check",
    "makemigrations",
    "collectstatic",
    "makemessages",
    "compilemessages",
}


def main() -> int:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    asks_for_help = command.startswith("-") or "--help" in sys.argv or "-h" in sys.argv
    if command not in SERVERLESS and not asks_for_help:
        try:
            embedded.ensure()
        except embedded.LaunchError as error:
            if command != "doctor":  # which reports it among its findings
                print(f"adplatform: {error}", file=sys.stderr)
                return 1
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adplatform.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
