"""The cache: a folder with the weights of trained models, in files that are named by their content.

Nobody else may be able to write to the folder, since they could replace a trained model by another one.
"""

from pathlib import Path

from torch import nn

from efface.errors import CheckpointError, RequestError, reason_of
from efface.models.checkpoint import copy_state, load_weights, save_weights, weights_digest
from efface.runtime.files import check_writable


def check_cache(folder: Path) -> None:
    """Check that the folder exists or can be made, and can be written to; RequestError if not. It is not made here."""
    check_writable(folder, "cache")


class ModelCache:
    """A folder of files `<key>-<digest of the weights>.safetensors`, which several processes may share.

    Args:
        folder: The folder. If it is missing, it is made with access for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        check_cache(folder)
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise RequestError(f"cache {folder}: cannot be made: {reason_of(error)}") from error

    def load(self, key: str, model: nn.Module) -> bool:
        """Load the weights under a key, if there are any; damaged files count as missing.

        Args:
            key: Key of the model.
            model: A network, which gets the weights; it does not change if there are none.

        Returns:
            Whether there were weights.
        """
        before = copy_state(model)
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
        """Write the weights of a model under a key, in one step."""
        save_weights(model, self._file(key, model))

    def _file(self, key: str, model: nn.Module) -> Path:
        return self._folder / f"{key}-{weights_digest(model).removeprefix('sha256:')}.safetensors"
