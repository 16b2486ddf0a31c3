"""Hooks of MkDocs: files that lie beside docs/ become pages of the site, and links to them lead there."""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# pages of the site by the file that holds them, both from their roots
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
FIGURES = "benchmarks/results/"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)]*)?\)")
FENCE = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)


def place_on_site(path: str) -> str | None:
    """Where a file of the repository lies on the site; None where it does not."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"figures/{path.removeprefix(FIGURES)}" if path.startswith(FIGURES) and path.endswith(".svg") else None


def place_in_repository(page: str) -> str:
    """The file of the repository that holds a page of the site."""
    return next((path for path, name in PAGES.items() if name == page), f"docs/{page}")


def with_site_links(text: str, page: str) -> str:
    """The text of a page with its links as the site needs them; a link to a file that it lacks becomes plain text."""
    source = place_in_repository(page)

    def site_link(match: re.Match[str]) -> str:
        mark, words, to, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), to))
        if "://" in to or not (ROOT / path).exists():
            return match[0]
        there = place_on_site(path)
        if there is None:
            return words
        return f"{mark}[{words}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor or ''})"

    # code holds no links
    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(site_link, part) for part in parts)


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add what lies beside docs/."""
    for path in [*PAGES, *(str(p.relative_to(ROOT)) for p in sorted((ROOT / FIGURES).glob("*.svg")))]:
        files.append(File.generated(config, place_on_site(path) or path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Make links lead to pages of the site."""
    return with_site_links(markdown, page.file.src_uri)
