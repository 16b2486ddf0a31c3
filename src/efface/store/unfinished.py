"""What an interrupted retirement has left to do."""

import os
from collections.abc import Iterator

from efface.store.context import StoreContext
from efface.store.files import KINDS, SUFFIX
from efface.store.gc import superseded
from efface.store.history import History
from efface.store.keys import is_destroyed


def unfinished_retirement(context: StoreContext, history: History) -> tuple[str, ...]:
    """The places that an interrupted retirement has left to see to, each with what is there; empty if there is none.

    Args:
        context: the open store.
        history: its history.
    """
    return tuple(_places(context, history)) if history.retiring else ()


def unfinished_line(context: StoreContext, history: History) -> list[str]:
    """One line that says what an interrupted retirement has left; empty if it has left nothing."""
    left = unfinished_retirement(context, history)
    if not left:
        return []
    what = "; ".join(left)
    return [f"the retirement is unfinished: what is left: {what}. efface retire --yes (Store.retire) goes on with it"]


def _places(context: StoreContext, history: History) -> Iterator[str]:
    folder = context.folder
    if not folder.serves(history.serving.file):
        yield f"{folder.link}: does not lead to version {history.current}"
    log = folder.database.with_name(f"{folder.database.name}-wal")
    if history.uncleared and log.is_file() and log.stat().st_size:
        yield f"{log}: deleted ids may still stand in it"
    knowing = {v.file: v.title for v in superseded(history)}
    needed = {digest for kind, digest in history.needed_files() if digest not in knowing}
    for kind in KINDS:
        for path in sorted(folder.subfolder(kind).iterdir()):
            if path.stem in knowing:
                yield f"{path} ({knowing[path.stem]}): knows forgotten records"
            elif path.suffix != SUFFIX or path.stem not in needed:
                yield f"{path}: a file that nothing in the history names"
    for path in folder.stray_reports(history.reported_runs):
        yield f"{path}: a report that nothing in the history names"
    if not os.path.lexists(context.key_path):
        return
    if is_destroyed(context.key_path):
        yield f"{context.key_path}: the file of the key, which holds nothing but zeros now, is still there"
    else:
        yield f"{context.key_path}: the key, with which ids can still be matched"
