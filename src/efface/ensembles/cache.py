"""The cache: a folder with the weights of each trained model and a note of what they are, each written whole.

It must be one's own: whoever else can write to it can put a model of theirs, with its note, in place of a trained one.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path

from torch import nn

from efface.ensembles.members import Work
from efface.errors import CheckpointError, RequestError
from efface.models.checkpoint import load_weights, save_weights, weights_digest
from efface.runtime.cost import PhaseCost
from efface.runtime.files import check_writable
from efface.runtime.provenance import versions


def check_cache(folder: Path) -> None:
    """RequestError where the folder is none, or could not be made or written to; nothing is made here."""
    check_writable(folder, "cache")


class Cache:
    """Files `<key>.safetensors` and `<key>.json` in a folder of one's own; several processes may share it.

    A folder that is made here is closed to other users; one that is found stays as it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        check_cache(folder)
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise RequestError(f"cache {folder}: cannot be made: {_reason(error)}") from error

    def load(self, key: str, model: nn.Module) -> bool:
        """Whether the cache holds weights under `key`, which `model` then has.

        Damaged ones count as absent, and so do weights without a whole note that gives their digest.
        """
        weights, digest = self._folder / f"{key}.safetensors", self._digest(key)
        if digest is None or not weights.is_file():
            return False
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        try:
            load_weights(model, weights)
        except CheckpointError:
            return False
        if digest != weights_digest(model):
            model.load_state_dict(before)
            return False
        return True

    def save(self, work: Work, number: int, model: nn.Module, cost: PhaseCost) -> None:
        """Write a member's weights, then the note with their digest; between the two they count as absent."""
        member = work.members[number]
        fit = work.tasks[member.task].fit
        digest = save_weights(model, self._folder / f"{member.key}.safetensors")
        note = {
            "digest": digest,
            "records": len(member.positions),
            "seed": member.seed,
            "trained_by": repr(work.recipe) if fit is None else getattr(fit, "__qualname__", type(fit).__qualname__),
            "cpu_s": cost.cpu_s,
            "wall_s": cost.wall_s,
            "forward": cost.forward,
            "backward": cost.backward,
            "versions": versions(),
        }
        target = self._folder / f"{member.key}.json"
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        try:
            temporary.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, target)
        except OSError as error:
            raise CheckpointError(f"{target}: cannot be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _digest(self, key: str) -> str | None:
        """That of the note; None where there is none, or no whole one."""
        try:
            note = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            return str(note["digest"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
