"""The cache: a folder with the weights of each trained model, each file written whole and named by what it holds.

It must be one's own: whoever else can write to it can put a model of theirs in place of a trained one.
"""

import os
from pathlib import Path

from torch import nn

from efface.errors import CheckpointError, RequestError
from efface.models.checkpoint import load_weights, save_weights, weights_digest


def check_cache(folder: Path) -> None:
    """RequestError where the folder is none, or could not be made or written to; nothing is made here."""
    try:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
    except OSError as error:  # the working directory was deleted
        raise RequestError(f"cache {folder}: {_reason(error)}") from error
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        what = "is not a folder that can be written to" if place == folder.absolute() else f"cannot be made in {place}"
        raise RequestError(f"cache {folder}: {what}")


class ModelCache:
    """Files `<key>-<digest of the weights>.safetensors` in a folder of one's own; several processes may share it.

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
        """Whether the cache holds weights under `key`, which `model` then has; damaged ones count as absent."""
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for file in sorted(self._folder.glob(f"{key}-*.safetensors")):
            try:
                load_weights(model, file)
            except CheckpointError:
                continue
            if file == self._file(key, model):
                return True
            model.load_state_dict(before)
        return False

    def save(self, key: str, model: nn.Module) -> None:
        """Write a model's weights in one step."""
        save_weights(model, self._file(key, model))

    def _file(self, key: str, model: nn.Module) -> Path:
        return self._folder / f"{key}-{weights_digest(model).removeprefix('sha256:')}.safetensors"


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
