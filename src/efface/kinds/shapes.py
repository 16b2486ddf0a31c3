"""What tensors of outputs and targets look like, for finding a kind and for messages."""

import torch
from torch import Tensor


def shape_of(tensor: Tensor) -> str:
    """A tensor's dtype and shape in words, such as `float32 of shape (2, 3)`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def are_zero_or_one(tensor: Tensor) -> bool:
    """Whether every value is 0 or 1."""
    return tensor.dtype == torch.bool or bool(((tensor == 0) | (tensor == 1)).all())
