"""Links of errors to pages."""

import ast
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest

import efface
from efface.runtime import pages
from efface.runtime.kinds import INTEGRATIONS
from efface.runtime.pages import page
from helpers.pages import DOCS, anchors
from helpers.tiny import Tiny

SOURCE = Path(efface.__file__).parent


def links() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every call of `page` in the package, with the words that it is given."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "page":
                where = str(path.relative_to(SOURCE))
                if all(isinstance(arg, ast.Constant) for arg in node.args):
                    yield where, tuple(ast.literal_eval(arg) for arg in node.args)
                else:
                    assert ast.unparse(node) == "page(f'howto/{name}')", f"{where}: which pages are meant?"
                    yield from ((where, (f"howto/{name}",)) for name in sorted(set(INTEGRATIONS.values())))


def test_every_page_and_anchor_that_an_error_names_is_there() -> None:
    found = list(links())
    assert found
    for where, (name, *anchor) in found:
        target = DOCS / f"{name}.md"
        assert target.is_file(), f"{where}: {name}"
        assert set(anchor) <= anchors(target), f"{where}: {name}#{anchor}"


def test_no_text_names_a_page_by_its_place_in_the_repository() -> None:
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docstrings = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, documented)}
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        assert [t for t in texts if "docs/" in t and t not in docstrings] == [], path


def test_a_link_leads_to_a_file_that_is_there(tiny: Tiny) -> None:
    with pytest.raises(efface.RequestError) as caught:
        efface.unlearn(tiny.model, train=tiny.task().train, holdout=None, forget=[1])
    link = urlparse(caught.value.problems[-1].rpartition(" ")[2])
    text = Path(url2pathname(link.path)).read_text(encoding="utf-8")
    assert link.scheme == "file" and link.fragment == "i-have-no-holdout" and "### I have no holdout" in text


def test_an_installed_package_and_a_site_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "SHIPPED", tmp_path)
    assert page("howto/groups") == (tmp_path / "howto" / "groups.md").as_uri()
    monkeypatch.setattr(pages, "SITE", "https://docs.example.org/efface")
    assert page("guide", "options-of-a-run") == "https://docs.example.org/efface/guide.html#options-of-a-run"
