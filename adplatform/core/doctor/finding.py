"""The answer of a check: what it found and, where that is not well, what to do.

A check that raises counts as failed, with the exception's words: it may simply ask and need not foresee everything
that can break.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adplatform import embedded
from adplatform.embedded import preflight

OK, WARN, FAIL = "ok", "warn", "fail"
START = "start the platform with `make up` (or `manage.py up`)"


@dataclass(frozen=True)
class Finding:
    """The answer to one question; ``fix`` says in words what to do when it is not ok."""

    status: str
    says: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """A question with its name."""

    name: str
    ask: Callable[[], Finding]

    def run(self) -> Finding:
        """The answer; an exception is a failure told in one line."""
        try:
            return self.ask()
        except Exception as error:  # a check may ask whatever it likes
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            return Finding(
                FAIL, first_line, "see the message; docs/operations.md lists what each service needs"
            )


def serving() -> bool:
    """Whether `manage.py up` runs in this checkout."""
    try:
        preflight.check_alone()
    except embedded.LaunchError:
        return True
    return False


def down() -> str:
    """A missing worker is a fault while the platform serves, and plain to expect while it does not."""
    return FAIL if serving() else WARN
