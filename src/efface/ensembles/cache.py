"""The cache: a folder with the weights of each trained model and a note of what they are, each written whole."""

import contextlib
import json
import os
import secrets
from pathlib import Path

from torch import nn

from efface.checkpoint import load_weights, save_weights, weights_digest
from efface.ensembles.members import Work
from efface.errors import CheckpointError, RequestError
from efface.runtime import versions
from efface.types import PhaseCost


def check_cache(folder: Path) -> None:
    """RequestError where the folder is none, or could not be made or written to; nothing is made here."""
    try:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise RequestError(f"cache {folder}: {getattr(error, 'strerror', None) or error}") from error
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        what = "is not a folder that can be written to" if place == folder.absolute() else f"cannot be made in {place}"
        raise RequestError(f"cache {folder}: {what}")


class Cache:
    """Files `<key>.safetensors` and `<key>.json` in a folder; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        check_cache(folder)
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, key: str, model: nn.Module) -> bool:
        """Whether the cache holds whole weights under `key`, which `model` then has; damaged ones count as absent."""
        weights = self._folder / f"{key}.safetensors"
        if not weights.is_file():
            return False
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        try:
            load_weights(model, weights)
        except CheckpointError:
            return False
        # a note is written after the weights, so one may be missing, but none may contradict them
        digest = self._digest(key)
        if digest not in (None, weights_digest(model)):
            model.load_state_dict(before)
            return False
        return True

    def save(self, work: Work, number: int, model: nn.Module, cost: PhaseCost) -> None:
        """Write a member's weights, then the note."""
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
        try:
            note = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            return str(note["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
