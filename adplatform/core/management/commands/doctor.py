"""`manage.py doctor`: what is misconfigured, missing or down, with the fix in words."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from adplatform.core.doctor import checks
from adplatform.core.doctor.finding import FAIL


class Command(BaseCommand):
    help = "Check this installation and say what to do about each fault; exits 1 when something fails."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        findings = [(check.name, check.run()) for check in checks.CHECKS]
        failed = any(finding.status == FAIL for _, finding in findings)
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "ok": not failed,
                        "checks": [{"name": name, **asdict(finding)} for name, finding in findings],
                    }
                )
            )
        else:
            for name, finding in findings:
                fix = f"\n{'':23}-> {finding.fix}" if finding.fix else ""
                self.stdout.write(f"{finding.status:<5} {name:<16} {finding.says}{fix}")
        if failed:
            sys.exit(1)
