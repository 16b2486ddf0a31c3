"""The store's key, which turns record ids into tags that reveal nothing without the key."""

import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from efface.errors import RequestError
from efface.runtime.files import sync
from efface.store.errors import DamagedError, storage_error
from efface.store.failpoints import failpoint
from efface.store.place import key_exists
from efface.types import RecordId

LENGTH = 32  # bytes of a key
FINGERPRINT_DIGITS = 16
MAC_BYTES = 16  # of a MAC of content
TAG_DIGITS = 16  # of a tag, in hexadecimal: the name of a record in reports


@dataclass(frozen=True)
class Key:
    """A secret of 32 bytes; without it nobody can find out which records the history is about."""

    secret: bytes = field(repr=False)

    def tag(self, name: RecordId) -> bytes:
        """HMAC-SHA256 of a record id, 32 bytes; the integer 1 and the text "1" have different ones."""
        # does not call _mac, for speed: a run does this for every training record
        kind = b"id text\0" if isinstance(name, str) else b"id number\0"
        return hmac.digest(self.secret, kind + str(name).encode("utf-8", "surrogatepass"), "sha256")

    def group_tag(self, group: RecordId) -> str:
        """The first 32 hexadecimal digits of an HMAC of a group's key; the integer 1 and the text "1" differ."""
        kind = "group text" if isinstance(group, str) else "group number"
        return self._mac(kind, str(group).encode("utf-8", "surrogatepass")).hex()[: 2 * MAC_BYTES]

    def mac(self, purpose: str, text: str) -> str:
        """HMAC-SHA256 of a text, in hexadecimal; the same text has different ones for different purposes."""
        return self._mac(purpose, text.encode()).hex()

    def row_check(self, request: int, place: int, tag: bytes) -> bytes:
        """The first 8 bytes of an HMAC by which changes of a row of the table `tags` are noticed.

        Args:
            request: number of the request.
            place: place of the tag among the request's sorted tags, from 0.
            tag: the tag.
        """
        return self._mac("row", f"{request} {place} ".encode() + tag)[:8]

    def content_mac(self, tag: bytes, content: bytes) -> bytes:
        """16 bytes of an HMAC of a record's id and content, by which a changed content is noticed.

        Args:
            tag: the tag of its id.
            content: the hash of its input and target.
        """
        # both macs of content do not call _mac, for speed: they are made for every training record
        return hmac.digest(self.secret, b"content\0" + tag + content, "sha256")[:MAC_BYTES]

    def forgotten_mac(self, inputs: bytes) -> bytes:
        """16 bytes of an HMAC of a forgotten record's content alone, equal for records of equal inputs.

        Args:
            inputs: the hash of its input.
        """
        return hmac.digest(self.secret, b"forgotten content\0" + inputs, "sha256")[:MAC_BYTES]

    def row_number(self, table: str, row: bytes) -> int:
        """A number below 2**256 for a row of a table; the sum of those of all rows tells if the table was changed."""
        return int.from_bytes(self._mac(f"row of {table}", row), "big")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the key without revealing it."""
        return self.mac("fingerprint", "efface")[:FINGERPRINT_DIGITS]

    def _mac(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self.secret, purpose.encode() + b"\0" + data, "sha256")


def make_key(path: Path) -> Key:
    """Write a new key that only its owner can read.

    Raises:
        RequestError: there is a file already; a key is never replaced.
        StorageError: it cannot be written.
    """
    key = Key(secrets.token_bytes(LENGTH))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise key_exists(path) from None
    except (OSError, ValueError) as error:
        raise storage_error(path, error, "the key cannot be written") from error
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{key.secret.hex()}\n")
        sync(path)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key is useless, and would make the next attempt fail
        raise storage_error(path, error, "the key cannot be written") from error
    with suppress(OSError):  # a key may lie on a file system that cannot do this, such as a stick or a share
        sync(path.parent)
    return key


def read_key(path: Path) -> Key | None:
    """Read the key in a file.

    Returns:
        The key; None if there is no such file, or if it was destroyed: the store then counts as retired.

    Raises:
        RequestError: the path is a folder.
        StorageError: the file cannot be read.
        DamagedError: the file holds no key.
    """
    if is_destroyed(path):
        return None
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise RequestError(f"{path}: is a folder, not the file of a key (key, or --key)") from None
    except OSError as error:
        raise storage_error(path, error, "the key cannot be read") from error
    except ValueError:
        secret = b""
    if len(secret) != LENGTH:
        raise DamagedError(f"{path}: is not a key of efface: expected {2 * LENGTH} hexadecimal digits")
    return Key(secret)


def is_destroyed(path: Path) -> bool:
    """Whether a file is what is left of a key that was destroyed: it holds nothing but zeros."""
    try:
        held = path.read_bytes().strip(b" \r\n")
    except OSError:
        return False
    return bool(held) and not held.strip(b"0\0")


def destroy_key(path: Path, fingerprint: str) -> None:
    """Overwrite a key and remove its file; copies that the disk or a backup keeps elsewhere are not affected.

    Nothing is done where there is no such file, and a key that was overwritten before is only removed.

    Args:
        path: the file.
        fingerprint: the fingerprint of the key that may be destroyed.

    Raises:
        DamagedError: the file holds another key, or none.
        StorageError: it cannot be overwritten or removed.
    """
    key = read_key(path)
    if key is not None:
        if key.fingerprint != fingerprint:
            raise DamagedError(f"{path}: is not the key of this store, so it was not destroyed")
        try:
            _overwrite(path)
        except OSError as error:
            advice = "the key cannot be overwritten: make it writable, or destroy it yourself where it is kept"
            raise storage_error(path, error, advice) from error
        failpoint("key.overwritten")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error, "the key is destroyed, but its file cannot be removed") from error
    with suppress(OSError):  # should the file come back after a power cut, there are zeros in it
        sync(path.parent)
    failpoint("key.removed")


def _overwrite(path: Path) -> None:
    if not os.access(path, os.W_OK):
        with suppress(OSError):  # its owner may have made it read-only
            path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"0" * path.stat().st_size)
    sync(path)


def short_tag(tag: bytes) -> str:
    """The name of a record in reports and exports: the first 16 hexadecimal digits of its tag."""
    return tag.hex()[:TAG_DIGITS]
