"""Every benchmark after another, each small enough that all take about half an hour: python -m bench [NAME …] [--whole]

A benchmark that needs a data set which ADPLATFORM_DATA lacks is named as left out; one that fails does not stop the next.
At the end stands what each took: processor seconds of its processes (those of PostgreSQL and Valkey are not theirs), and
seconds by the clock. `--whole` runs each with its own defaults, which takes hours. docs/bench.md says what each is about.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

TABLES = Path("var/bench/ctr")  # which bench.ctr.sets writes
OWN_NUMBER = "/13"  # of a Valkey whose URL names none: benchmarks ask for an empty one, and leave it empty
RETAIL = "online_retail_ii/online_retail_ii_2009_2010.parquet"


@dataclass(frozen=True)
class Bench:
    """A benchmark, what it is always told, what makes it small, and which folder of ADPLATFORM_DATA it cannot do without."""

    name: str
    always: str = ""
    small: str = ""
    needs: str = ""

    def command(self, data: Path, *, whole: bool) -> list[str]:
        words = self.always.format(tables=TABLES, data=data).split()
        return [sys.executable, "-m", f"bench.{self.name}", *words, *([] if whole else self.small.split())]


BENCHES = (
    Bench("serving", small="--line-items 1000 10000 --seconds 3"),
    Bench("edit", small="--line-items 500 --slots 50 --edits 4"),
    Bench("counters", small="--line-items 1000 10000 --rates 500 --rounds 3"),
    Bench("ingest", small="--events 20000"),
    Bench("delivery", small="--line-items 5000 --minutes 1"),
    Bench("edit", small="--line-items 1000 --slots 50 --edits 5"),
    Bench("walls", small="--rows 50000"),
    Bench("privacy", small="--batches 5"),
    Bench("validity", needs="invalid_traffic"),
    Bench("scoring", small="--texts 128 --rounds 2"),
    Bench("position", small="--seeds 1"),
    Bench("ctr", small="movietweetings --peers none --seeds 1", needs="movietweetings"),
    Bench("trees", "{tables}", "--sets movietweetings", needs="movietweetings"),
    Bench("calibration", "{tables}", "movietweetings", needs="movietweetings"),
    Bench("amounts", f"{{data}}/{RETAIL}", needs="online_retail_ii"),
    Bench("engines", small="--visitors 200 movietweetings", needs="movietweetings"),
    Bench("offpolicy", small="--coverage 20"),
    Bench("augment", small="--tests 100", needs="upworthy"),
    Bench(
        "transfer",
        small="movietweetings upworthy --visitors 100 --draws 1 --no-pretraining",
        needs="upworthy",
    ),
)


@dataclass(frozen=True)
class Took:
    """What became of one benchmark. Seconds of the processor and of the clock."""

    name: str
    state: str
    cpu_seconds: float = 0.0
    seconds: float = 0.0


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [one.name for one in BENCHES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--whole", action="store_true", help="each with its own defaults")
    asked = parser.parse_args(words)
    if unknown := set(asked.names) - set(names):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    chosen = [one for one in BENCHES if not asked.names or one.name in asked.names]
    done = list(_run(chosen, whole=asked.whole))
    print(f"\n{'benchmark':<12} {'CPU s':>7} {'s':>7}  state")
    for one in done:
        print(f"{one.name:<12} {one.cpu_seconds:>7.0f} {one.seconds:>7.0f}  {one.state}")
    print(
        f"{'all':<12} {sum(one.cpu_seconds for one in done):>7.0f} {sum(one.seconds for one in done):>7.0f}"
    )
    return 1 if any(one.state.startswith("failed") for one in done) else 0


def _run(chosen: Sequence[Bench], *, whole: bool) -> Iterator[Took]:
    data = Path(os.environ.get("ADPLATFORM_DATA") or "absent")
    environment = os.environ | {
        name: _own_number(os.environ[name]) for name in ("REDIS_URL", "EVENTS_URL") if name in os.environ
    }
    ready = [one for one in chosen if not one.needs or (data / one.needs).is_dir()]
    if sets := _missing_tables(ready, whole=whole):
        subprocess.run([sys.executable, "-m", "bench.ctr.sets", str(TABLES), *sets], check=True)
    for one in chosen:
        if one not in ready:
            yield Took(one.name, f"left out: there is no {one.needs} in ADPLATFORM_DATA")
            continue
        command = one.command(data, whole=whole)
        print(f"\n=== {' '.join(command[1:])}", flush=True)
        began, spent = time.monotonic(), _children()
        code = subprocess.run(command, env=environment, check=False).returncode
        took = Took(
            one.name, f"failed with {code}" if code else "done", _children() - spent, time.monotonic() - began
        )
        print(f"{took.cpu_seconds:.0f} s of CPU, {took.seconds:.0f} s by the clock", flush=True)
        yield took


def _missing_tables(chosen: Sequence[Bench], *, whole: bool) -> list[str]:
    """Sets whose tables a chosen benchmark reads and nobody has written yet."""
    wanted = {one.needs for one in chosen if "{tables}" in one.always}
    wanted |= {"movietweetings", "online_retail_ii"} if wanted and whole else set()
    return sorted(name for name in wanted if not (TABLES / name).is_dir())


def _children() -> float:
    """Processor seconds of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _own_number(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=OWN_NUMBER)) if parts.path.strip("/") in {"", "0"} else url


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
