"""Links to the pages of the documentation, for errors: what somebody without the repository can open."""

from pathlib import Path

# Where the site is served, such as "https://docs.example.org/efface"; None as long as it is served nowhere. Then links
# lead to the copies of the pages that come with the package, or with a clone of the repository.
SITE: str | None = None
SHIPPED = Path(__file__).parents[1] / "pages"
CLONED = Path(__file__).parents[3] / "docs"


def page(name: str, heading: str = "") -> str:
    """A link to a page of the documentation, which leads to a file here while there is no site.

    It is for errors. What is kept or passed on, such as a report, must not name a file of this machine.

    Args:
        name: The page, without the ending of its file, such as `guide` or `howto/groups`.
        heading: The anchor of a heading of it, such as `i-have-no-holdout`.
    """
    mark = f"#{heading}" if heading else ""
    if SITE is not None:
        return f"{SITE}/{name}.html{mark}"
    folder = SHIPPED if SHIPPED.is_dir() else CLONED
    return (folder / f"{name}.md").as_uri() + mark
