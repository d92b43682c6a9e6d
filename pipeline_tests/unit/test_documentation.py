"""The documentation names files that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parents[2]
_PAGES = [*_CHECKOUT.glob("*.md"), *_CHECKOUT.glob("docs/*.md"), _CHECKOUT / "pipeline_tests" / "README.md"]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)?(?:#([^)]*))?\)")
_NAMED = re.compile(r"`([\w/]+\.(?:py|pyi|sql))`")
_EXAMPLES = {"NNNN_name.sql", "defs.py", "file.py"}


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_CHECKOUT).as_posix())
def test_each_link_leads_somewhere(page: Path) -> None:
    for path, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in _anchors(target), f"{path}#{anchor}"


def _named_files(page: Path) -> Iterator[str]:
    for name in _NAMED.findall(page.read_text(encoding="utf-8")):
        if Path(name).name not in _EXAMPLES:
            yield name


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_CHECKOUT).as_posix())
def test_each_file_that_is_named_is_there(page: Path) -> None:
    folders = [_CHECKOUT / name for name in ("rowledger", "pipeline", "pipeline_tests", "benchmarks", "sql")]
    for name in _named_files(page):
        found = [path for folder in folders for path in folder.rglob(Path(name).name)]
        assert any(path.as_posix().endswith(f"/{name}") for path in found), name
