"""The demo on Fashion-MNIST: its division of the records."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.fashion_demo import fashion_setting
from efface.errors import RequestError


def images(x: Tensor) -> list[bytes]:
    return [row.tobytes() for row in x.numpy()]


def test_fashion_mnist_is_divided_without_overlap() -> None:
    try:
        setting = fashion_setting(0)
    except RequestError as missing:
        pytest.skip(str(missing))  # says how to get the files
    task, forget = setting.task, setting.kinds["random"]
    train, holdout, test = (images(part.tensors[0]) for part in (task.train, task.holdout, task.test))  # type: ignore[union-attr]
    assert [len(part) for part in (train, holdout, test)] == [60_000, 4000, 6000]
    assert not set(holdout) & {*test, *train}
    assert len(set(forget)) == 600
    # a twin that stays in training would make the request one that is refused
    assert not {train[i] for i in forget} & {train[i] for i in np.setdiff1d(np.arange(60_000), forget)}
    with torch.no_grad():
        assert setting.build()(task.train[0][0][None]).shape == (1, 10)
