"""Originals and retrained models of a setting, each trained once and kept."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

from benchmarks.graphs.networks import Network, train_side_by_side
from benchmarks.graphs.settings import LINK_EPOCHS, NODE_EPOCHS, Setting
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter
from efface.runtime.printing import how_many
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed, seeded
from efface.types import Indices

TOGETHER = 5  # networks of links that are trained side by side


def trained(setting: Setting, role: str, count: int, folder: Path) -> list[Network]:
    """Networks trained on all records ("original"), or without the request ("retrained").

    Args:
        setting: The setting; originals are shared by all requests of one task.
        role: Which.
        count: How many.
        folder: Where they are kept.
    """
    whole = role == "original"
    kind = "links" if setting.of_links else "topics" if setting.delete == "nodes" or whole else "featureless"
    epochs = LINK_EPOCHS if setting.of_links else NODE_EPOCHS
    stem = f"{setting.data}-{setting.layer}-{kind}-{epochs}" if whole else f"{setting.name}-{epochs}"
    seeds = [derive_seed(setting.seed, "graph networks", stem, role, str(k)) for k in range(count)]
    files = [folder / f"{stem}-{role}-{seed}.safetensors" for seed in seeds]
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(seed, file) for seed, file in zip(seeds, files, strict=True) if not file.exists()]
    left = np.arange(len(setting.task.train))
    left = left if whole else np.setdiff1d(left, setting.forget)
    size = TOGETHER if setting.of_links else 1
    title = f"{setting.name}: training {how_many(len(missing), role + ' network')}"
    with track(title, -(-len(missing) // size)) as advance:
        for start in range(0, len(missing), size):
            _train(setting, left, missing[start : start + size])
            advance()
    return [_loaded(setting, file) for file in files]


def _train(setting: Setting, left: Indices, missing: list[tuple[int, Path]]) -> None:
    if not setting.of_links:
        ((seed, file),) = missing
        model = retrain(setting.task, setting.network(), left, seed, Meter(), Recipe())
        save_file(model.state_dict(), file)
        return
    networks = []
    for seed, _ in missing:
        with seeded(seed):
            networks.append(setting.network())
    task = setting.task.after(np.setdiff1d(np.arange(len(setting.task.train)), left))
    edges = task.structure.passed  # type: ignore[union-attr]
    rate = task.fit.lr  # type: ignore[union-attr]
    train_side_by_side(networks, setting.papers.x, edges, LINK_EPOCHS, rate, [seed for seed, _ in missing])
    for network, (_, file) in zip(networks, missing, strict=True):
        save_file(network.state_dict(), file)


def _loaded(setting: Setting, file: Path) -> Network:
    network = setting.network()
    network.load_state_dict(load_file(file))
    return network.eval()
