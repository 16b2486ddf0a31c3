"""People who ask to be forgotten, and where a trace of them stands in files."""

import base64
import hashlib
import html
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from efface import Task
from efface.store import Store
from helpers.store_cases import IDS, task_of
from helpers.tiny import Tiny

ANNA, SCRIPT, ODD = "anna.schmidt@example.org", "<script>alert(1)</script>", 'o"néill\\漢🙂 & sons'
ASKED = (ANNA, SCRIPT, ODD, IDS[40], IDS[41])
NAMED = (*ASKED[:3], *IDS[3:])


def secret_task(tiny: Tiny) -> Task:
    """The tiny problem, whose first records are of people with ids that are hard to write down."""
    return replace(task_of(tiny), ids=NAMED)


def make_secret(folder: Path, tiny: Tiny) -> Store:
    """A store whose one request waits, and names all of ASKED."""
    made = Store.create(folder, secret_task(tiny), tiny.model)
    made.add(ASKED, note="a letter of <b>2031</b>")
    return made


def files(folder: Path) -> dict[Path, bytes]:
    """What each file below a folder holds."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def written(name: str) -> Iterator[bytes]:
    """A name as somebody may have written it down."""
    for text in (name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1], html.escape(name)):
        yield from (text.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"))
    yield from (quote(name).encode(), repr(name)[1:-1].encode(), name.encode().hex().encode())
    yield base64.b64encode(name.encode()).rstrip(b"=")[:-1]


def hashed(name: str) -> Iterator[bytes]:
    """A name under hashes that need no key, whole and as the digits that are shown of a tag."""
    texts = (name, f"{name}\n", json.dumps(name), f"str:{name}", f"id\0{json.dumps(name)}")
    for text in texts:
        for kind in ("sha256", "sha1", "md5", "blake2b", "sha512"):
            digest = hashlib.new(kind, text.encode())
            yield from (digest.digest()[:16], digest.hexdigest()[:12].encode())


def places(folder: Path, names: tuple[str, ...], forms: Callable[[str], Iterator[bytes]]) -> list[str]:
    """Where a form of a name stands in the bytes of any file, and in which."""
    wanted = {form: name for name in names for form in forms(name)}
    return sorted({f"{path.name}: {wanted[f]}" for path, held in files(folder).items() for f in wanted if f in held})


def rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All tables, as SQLite has them."""
    raw = sqlite3.connect(store.path / "ledger.sqlite")
    try:
        names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: raw.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    finally:
        raw.close()
