"""The site holds every page and every public name, generated pages are current, and links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import efface
import efface.store
from efface.methods import REGISTRY
from helpers.pages import DOCS, PAGES, ROOT, anchors, name_of
from tools import method_pages

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
SHOWN = re.compile(r"^::: ([\w.]+)$", flags=re.MULTILINE)


def shown() -> list[str]:
    return [name for page in sorted((DOCS / "api").glob("*.md")) for name in SHOWN.findall(page.read_text())]


def test_every_public_name_is_in_the_reference_once() -> None:
    names = shown()
    assert len(names) == len(set(names))
    public = {name for name in efface.__all__ if name != "methods"}
    missing = public - {name.removeprefix("efface.") for name in names}
    kept = set(efface.store.__all__) - {name.removeprefix("efface.store.").removeprefix("efface.") for name in names}
    assert not missing and not kept, "give it a line in docs/api"
    for name in names:
        module, _, last = name.rpartition(".")
        owner: Any = efface
        for word in module.split(".")[1:]:
            owner = getattr(owner, word) if hasattr(owner, word) else __import__(module, fromlist=["x"])
        assert hasattr(owner, last), name


@pytest.mark.parametrize("path", method_pages.pages(), ids=lambda p: p.name)
def test_pages_of_methods_are_current(path: Path) -> None:
    expected = method_pages.pages()[path]
    assert path.read_text(encoding="utf-8") == expected, f"run {method_pages.COMMAND}"


def test_the_catalogue_has_every_method_with_its_source_and_an_example_of_its_own() -> None:
    catalogue, options = method_pages.methods_page(), method_pages.options_page()
    for key, method in REGISTRY.items():
        assert f"\n## `{key}`\n" in catalogue and f"\n## `{key}`\n" in options
        assert method_pages.linked(method.source) in catalogue
        values = method_pages.example(method)
        made = method(**values)
        assert all(getattr(made, name) != getattr(method(), name) for name in values)


def test_every_page_is_in_the_navigation_once() -> None:
    class Loader(yaml.SafeLoader):
        """Reads mkdocs.yml, in which one value is a Python function."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)  # a subclass of SafeLoader
    assert settings["strict"] and settings["theme"]["font"] is False, "the site is built without the network"

    def places(part: Any) -> list[str]:
        if isinstance(part, str):
            return [part]
        return [place for inner in (part.values() if isinstance(part, dict) else part) for place in places(inner)]

    found = places(settings["nav"])
    beside = {"index.md", "contributing.md", "changelog.md"}  # tools/site_hooks.py adds them
    assert sorted(found) == sorted({str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")} | beside)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for to, anchor in LINK.findall(text):
        if "://" in to:
            continue
        target = page if not to else page.parent / to
        assert target.exists(), f"{name_of(page)}: {to}"
        # the reference has the anchors that mkdocstrings makes
        if anchor and not anchor.startswith("efface."):
            assert anchor in anchors(target), f"{name_of(page)}: {to}#{anchor}"
        elif anchor:
            assert f"::: {anchor}\n" in target.read_text(), f"{name_of(page)}: {to}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lists_stand_apart(page: Path) -> None:
    """On the forge a list may follow a paragraph at once; on the site it would become a part of it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    inside, wrong = False, []
    for number, (before, line) in enumerate(zip(["", *text.splitlines()], text.splitlines(), strict=False), 1):
        is_item = bool(re.match(r"([-*]|\d+\.) ", line))
        if is_item and before.strip() and not inside and not before.startswith("#"):
            wrong.append(f"{number}: {line[:40]}")
        inside = is_item or (inside and bool(line.strip()))
    assert not wrong
