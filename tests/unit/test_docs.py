"""What the pages for people name is there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for folder, pattern in (
        (".", "*.md"),
        ("docs", "**/*.md"),
        ("docker", "**/*.md"),
        ("models", "*.md"),
        ("benchmarks", "*.md"),
    )
    for page in (ROOT / folder).glob(pattern)
)


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_the_threat_model_names_files_that_exist() -> None:
    named = re.findall(r"`([\w./]+\.py)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_readme_lists_every_command() -> None:
    rows = re.findall(r"^\| (`justlens .*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = [set(re.findall(r"[a-z-]+", row)) for row in rows]
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        of_it = [words for words in listed if name in words]
        assert of_it, name
        assert set(getattr(command, "commands", ())) <= set().union(*of_it), name


def test_the_page_of_operations_lists_every_setting() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text.partition("## Settings")[2].partition("## ")[0]
    listed = set(re.findall(r"^\| `(JUSTLENS_\w+)`", table, re.MULTILINE))
    # Written in the row of another one.
    short = {"JUSTLENS_AKAMAI_CLIENT_SECRET", "JUSTLENS_AKAMAI_ACCESS_TOKEN"}
    assert listed | short == {f"JUSTLENS_{name.upper()}" for name in Settings.model_fields}
