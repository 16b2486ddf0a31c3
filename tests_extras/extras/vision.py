"""Makes torchvision importable where its wheel is one for CUDA and torch is one for CPUs: import this before it.

The wheel's compiled operators cannot be loaded then, and its import fails since it describes two of them. Models,
transforms and data sets need none of them.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import library

FOUND = find_spec("torchvision")
assert FOUND is not None and FOUND.origin is not None, "torchvision is not installed"
try:
    torch.ops.load_library(next(Path(FOUND.origin).parent.glob("_C*.so")))
except OSError:
    OPERATORS = library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
