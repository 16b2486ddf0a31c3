"""The store's key: what turns record ids into tags that say nothing without it."""

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from efface.errors import RequestError
from efface.store.errors import DamagedError, StorageError
from efface.types import RecordId

LENGTH = 32
SHOWN = 16  # hexadecimal digits of a tag that name a record in reports


@dataclass(frozen=True)
class Key:
    """A secret of 32 bytes; without it nobody can tell which records the history is about."""

    secret: bytes = field(repr=False)

    def tag(self, name: RecordId) -> bytes:
        """HMAC-SHA256 of a record id (32 bytes); the integer 1 and the text "1" have different ones."""
        # on its own rather than by _mac: a run does this for every training record
        kind = b"id text\0" if isinstance(name, str) else b"id number\0"
        return hmac.digest(self.secret, kind + str(name).encode("utf-8", "surrogatepass"), "sha256")

    def mac(self, purpose: str, text: str) -> str:
        """HMAC-SHA256 of some text in hexadecimal, different for each purpose."""
        return self._mac(purpose, text.encode()).hex()

    def row(self, request: int, place: int, tag: bytes) -> bytes:
        """What shows that the row of a tag is as it was written (8 bytes)."""
        return self._mac("row", f"{request} {place} ".encode() + tag)[:8]

    @property
    def fingerprint(self) -> str:
        """Tells keys apart and says nothing about them."""
        return self.mac("fingerprint", "efface")[:16]

    def _mac(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self.secret, purpose.encode() + b"\0" + data, "sha256")


def make_key(path: Path) -> Key:
    """Write a new key that only its owner can read; never over a file that is there."""
    key = Key(secrets.token_bytes(LENGTH))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise key_exists(path) from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: the key cannot be written: {getattr(error, 'strerror', None) or error}") from error
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{key.secret.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key is of no use, and would be in the way of the next attempt
        raise StorageError(f"{path}: the key cannot be written: {error.strerror or error}") from error
    return key


def key_exists(path: Path) -> RequestError:
    """The refusal to write a key over a file."""
    return RequestError(
        f"{path}: there is a file already, and a key is never replaced: name another place (--key), or remove it if no "
        "store needs it"
    )


def read_key(path: Path) -> Key | None:
    """The key in a file; None where there is no such file, which retires a store."""
    try:
        text = path.read_text(encoding="ascii").strip()
        secret = bytes.fromhex(text)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise RequestError(f"{path}: is a folder, not the file of a key (--key)") from None
    except OSError as error:
        raise StorageError(f"{path}: the key cannot be read: {error.strerror or error}") from error
    except ValueError:
        raise DamagedError(f"{path}: is not a key of efface: expected {2 * LENGTH} hexadecimal digits") from None
    if len(secret) != LENGTH:
        raise DamagedError(f"{path}: is not a key of efface: expected {2 * LENGTH} hexadecimal digits")
    return Key(secret)


def shown(tag: bytes) -> str:
    """The name of a record in reports and bundles."""
    return tag.hex()[:SHOWN]
