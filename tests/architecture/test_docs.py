"""The documentation names what there is: jobs, settings, commands, benchmarks, files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
PARTS = {"environment", "larger", "sets"}  # of a benchmark, with a command of their own
INTERNAL = {"ACCOUNT_EMAIL_VERIFICATION", "EMAIL_BACKEND"}  # of Django and allauth, for those who know them


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_that_a_link_names_is_there(page: Path) -> None:
    wanted = re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", page.read_text())
    missing = [
        f"{name}#{anchor}"
        for name, anchor in wanted
        if anchor not in _anchors(page.parent / name if name else page)
    ]
    assert missing == []


def test_every_scheduled_job_stands_in_the_table() -> None:
    from adplatform.celery import DEFAULT_SCHEDULES

    rows = re.findall(r"^\| ([\w, ]+) \|", (ROOT / "docs/jobs.md").read_text(), re.MULTILINE)
    listed = {name for row in rows for name in row.split(", ")}
    assert DEFAULT_SCHEDULES.keys() - listed == set()


def test_every_setting_of_the_environment_is_explained() -> None:
    read = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "adplatform/settings.py").read_text())
    assert len(read) > 20
    assert [name for name in read if name not in TEXT and name not in INTERNAL] == []


def test_every_command_is_mentioned_and_every_one_mentioned_exists() -> None:
    there = {
        path.stem for path in ROOT.glob("adplatform/*/management/commands/*.py") if path.stem != "__init__"
    }
    assert [name for name in sorted(there) if not re.search(rf"\b{name}\b", TEXT)] == []
    assert set(re.findall(r"manage\.py (\w+)", TEXT)) - there - {"migrate"} == set()


def test_every_benchmark_is_one_of_make_bench_and_of_the_page() -> None:
    from bench.__main__ import BENCHES

    listed = subprocess.run(
        ["git", "ls-files", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split() if name.endswith(".py")]
    runnable = {
        path.stem if path.stem != "__main__" else path.parent.name
        for path in files
        if path.exists() and path.parent.name != "peers" and 'if __name__ == "__main__"' in path.read_text()
    }
    assert {one.name for one in BENCHES} == runnable - {"bench", *PARTS}
    page = (ROOT / "docs/bench.md").read_text()
    assert [one.name for one in BENCHES if f"| {one.name} |" not in page] == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
