"""Data sets of the benchmark: distinct records, shuffled."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness import sets
from efface.errors import RequestError


def test_noisy_digits_are_distinct_and_a_third_of_the_taught_have_other_labels() -> None:
    data = sets.noisy_digits()
    assert data.given == 1797 and len(data.y) == len(data.x) <= 1797
    assert data.x.shape[1:] == (1, 8, 8) and data.x.min() == 0 and data.x.max() == 1 and data.classes == 10
    assert len(torch.unique(data.x, dim=0)) == len(data.x)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    clean = {image.tobytes(): int(label) for image, label in zip(bunch.images / 16, bunch.target, strict=True)}
    truth = torch.tensor([clean[x.double().numpy()[0].tobytes()] for x in data.x])
    wrong = truth != data.y
    assert not wrong[sets.DIGITS_TAUGHT :].any()
    # a label drawn at random is the right one in a tenth of the cases
    assert 0.22 < float(wrong[: sets.DIGITS_TAUGHT].double().mean()) < 0.32


def cifar(folder: Path, records: int) -> dict[bytes, int]:
    """Six made-up files, one record in two files; label by picture."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    found = {}
    for name in sets.CIFAR_FILES:
        labels = rng.integers(0, 10, (records, 1), dtype=np.uint8)
        pixels = rng.integers(0, 256, (records, 3072), dtype=np.uint8)
        if found:
            pixels[0], labels[0] = np.frombuffer(next(iter(found)), np.uint8), next(iter(found.values()))
        (folder / name).write_bytes(np.hstack([labels, pixels]).tobytes())
        found |= {p.tobytes(): int(y) for p, y in zip(pixels, labels[:, 0], strict=True)}
    return found


def test_cifar_is_read_of_a_local_folder_without_duplicates(data: Path) -> None:
    found = cifar(data / "cifar-10-batches-bin", 3)
    read = sets.cifar10()
    assert read.given == 18 and len(read.y) == len(found) == 13
    assert read.x.shape[1:] == (3, 32, 32) and read.x.min() >= -1 and read.x.max() <= 1
    for x, y in zip(read.x, read.y, strict=True):
        pixels = ((x + 1) * 127.5).round().to(torch.uint8).numpy().tobytes()
        assert found[pixels] == int(y)


def test_a_cifar_folder_that_is_not_whole_is_refused(data: Path) -> None:
    with pytest.raises(RequestError, match=r"CIFAR-10: data_batch_1\.bin, .*test_batch\.bin not found in "):
        sets.cifar10()
    cifar(data / "some", 2)
    (data / "some" / "data_batch_2.bin").unlink()
    with pytest.raises(RequestError, match=r"CIFAR-10: data_batch_2\.bin not found in .*some"):
        sets.cifar10(data / "some")
    (data / "some" / "data_batch_2.bin").write_bytes(b"1234")
    (data / "some" / "test_batch.bin").write_bytes(b"")
    with pytest.raises(RequestError, match=r"data_batch_2\.bin, test_batch\.bin in .*: not a whole number of records"):
        sets.cifar10(data / "some")
