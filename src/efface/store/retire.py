"""The end of a store: ids, log and models that know them go first, then the key."""

import os

from sqlalchemy import delete

from efface.store.context import StoreContext
from efface.store.database import named, plain
from efface.store.errors import BusyError
from efface.store.gc import clear_ids, drop_orphans, remove, superseded
from efface.store.keys import LENGTH


def retire(core: StoreContext) -> list[int]:
    """Destroy the key, after which nobody can tell whom the history is about; gives the pending requests given up.

    They are cancelled and their ids deleted. Superseded models that know honoured records are removed at once. The
    version in service stays. Raises BusyError, and keeps the key, while another process reads from the database.
    """
    with core.folder.locked(0.0):
        with core.writing() as book:
            pending = [r.number for r in book.history.pending]
            if run := book.history.open_run:
                book.append("ended", {"number": run.number, "stage": "abandoned", "why": "the store was retired"})
            for number in pending:
                book.append("cancelled", {"number": number})
            book.connection.execute(delete(plain))
        core.folder.serve(core.history().serving.file)
        if not clear_ids(core):
            raise BusyError(
                f"{core.database.path}: another process reads from it, so its log cannot be emptied: try again"
            )
        remove(core, [v.number for v in superseded(core.history())])
        drop_orphans(core)
        with core.writing() as book:
            book.append("retired", {})
        with named(core.key_path):
            with core.key_path.open("r+b") as file:  # of what the disk kept elsewhere nothing can be said
                file.write(b"0" * 2 * LENGTH)
                file.flush()
                os.fsync(file.fileno())
            core.key_path.unlink()
    return pending
