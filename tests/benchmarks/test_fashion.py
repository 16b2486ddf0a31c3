"""The reader of Fashion-MNIST's files."""

import gzip
import struct
from pathlib import Path

import pytest
import torch

from benchmarks.harness import fashion
from benchmarks.harness.fashion import FILES, fashion_mnist
from efface.errors import RequestError


def write_idx(path: Path, magic: int, shape: tuple[int, ...], body: bytes) -> None:
    path.write_bytes(gzip.compress(struct.pack(f">{1 + len(shape)}I", magic, *shape) + body))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three training and two test images in the files of Fashion-MNIST; image i is all of the value i."""
    for part, count in (("train", 3), ("t10k", 2)):
        pixels = b"".join(bytes([i]) * 784 for i in range(count))
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", 0x803, (count, 28, 28), pixels)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", 0x801, (count,), bytes(range(7, 7 + count)))
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(RequestError) as caught:
        fashion_mnist(folder)
    (problem,) = caught.value.problems
    return problem


def test_fashion_mnist() -> None:
    try:
        x_train, y_train, x_test, y_test = fashion_mnist()
    except RequestError as absent:
        pytest.skip(absent.problems[0])
    assert x_train.shape == (60000, 1, 28, 28)
    assert x_test.shape == (10000, 1, 28, 28)
    assert x_train.dtype == torch.float32
    assert torch.bincount(y_train).tolist() == [6000] * 10
    assert torch.bincount(y_test).tolist() == [1000] * 10
    assert abs(float(x_train.mean())) < 0.01
    assert abs(float(x_train.std()) - 1) < 0.01


def test_the_reader_on_a_handmade_folder(folder: Path) -> None:
    x_train, y_train, x_test, y_test = fashion_mnist(folder)
    assert x_train.shape == (3, 1, 28, 28)
    assert x_test.shape == (2, 1, 28, 28)
    assert y_train.tolist() == [7, 8, 9]
    assert y_test.tolist() == [7, 8]
    expected = (torch.tensor([0.0, 1.0, 2.0]) / 255 - 0.286) / 0.353
    assert torch.allclose(x_train[:, 0, 5, 5], expected)


def test_the_default_places_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = folder / "work"
    (work / ".data").mkdir(parents=True)
    monkeypatch.chdir(work)
    own = folder / "own" / "fashion-mnist"
    own.mkdir(parents=True)
    monkeypatch.setenv("EFFACE_DATA", str(own.parent))
    (work / ".data" / "fashion-mnist").symlink_to(folder)
    assert len(fashion_mnist()[0]) == 3  # the own folder holds nothing yet, so the next place serves
    for name in FILES:
        (own / name).write_bytes((folder / name.replace("train", "t10k")).read_bytes())
    assert len(fashion_mnist()[0]) == 2


def test_an_absent_set_says_where_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion, "SYSTEM", Path("two"))
    monkeypatch.setenv("EFFACE_DATA", "one")
    monkeypatch.chdir(folder)
    places = "one/fashion-mnist, .data/fashion-mnist, two"
    with pytest.raises(RequestError, match=f"not found in {places}: run `apt-get install dataset-fashion-mnist`"):
        fashion_mnist()
    (folder / FILES[3]).unlink()
    assert FILES[3] in refusal(folder)


@pytest.mark.parametrize(
    ("magic", "shape", "size", "message"),
    [
        (0x801, (3, 28, 28), 2352, "it starts with 0x801, not 0x803"),
        (0x803, (3, 28, 28), 2351, "promises 2352 bytes, but the file holds 2351"),
        (0x803, (3, 28, 28), 2353, "promises 2352 bytes, but the file holds more"),
        (0x803, (2**31, 2**31, 2**31), 10, "but the file holds 10"),
        (0x803, (3, 28, 27), 2268, "28 by 27, not 28 by 28"),
        (0x803, (2, 28, 28), 1568, "holds 2 images, but"),
        (0x803, (3,), 0, "the file ends within its header"),
    ],
)
def test_wrong_images_are_refused(folder: Path, magic: int, shape: tuple[int, ...], size: int, message: str) -> None:
    write_idx(folder / FILES[0], magic, shape, bytes(size))
    assert message in refusal(folder)


def test_wrong_labels_are_refused(folder: Path) -> None:
    write_idx(folder / FILES[1], 0x801, (3,), bytes([0, 1, 10]))
    assert "labels must lie in 0 to 9, not 10" in refusal(folder)


def test_damaged_archives_are_refused(folder: Path) -> None:
    path = folder / FILES[0]
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[14] ^= 0xFF
    for damaged in (whole[: len(whole) // 2], b"no archive", b"", bytes(flipped)):
        path.write_bytes(damaged)
        assert "damaged" in refusal(folder)
