"""Checksums and hashes of records, by which those of equal content are found."""

from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from efface.data.objects import content_bytes
from efface.types import Indices

if TYPE_CHECKING:
    from efface.data.records import Batch


def checksums(batch: "Batch") -> Indices:
    """One number for each record, (records,): equal for records of equal inputs, and seldom equal for others."""
    total = np.zeros(len(batch), dtype=np.int64)
    for place, part in enumerate(_parts(batch.inputs, len(batch))):
        if isinstance(part, np.ndarray):
            words = np.pad(part, ((0, 0), (0, -part.shape[1] % 4))).view(np.int32)
            total += (2 * place + 1) * np.einsum("ij,j->i", words, _weights(words.shape[1]))
    return total


@cache
def _weights(words: int) -> Indices:
    """Odd numbers, (words,): without them, records of the same few numbers in another order had equal sums."""
    return np.random.default_rng(words).integers(0, 2**62, words) * 2 + 1


def content_hashes(batch: "Batch", with_targets: bool = True) -> list[bytes]:
    """A 16-byte hash of each record in a batch, by the tensors, arrays, numbers, text and objects in its inputs.

    Padding that a collate function adds is part of the content; see `Records.hashed`.

    Args:
        batch: The records.
        with_targets: Whether the target is part of the content too.

    Raises:
        UncomparableError: An input is an object whose content cannot be seen.
    """
    parts = [*_parts(batch.inputs, len(batch)), *([_rows(batch.targets, len(batch))] if with_targets else [])]
    hashes = []
    for i in range(len(batch)):
        digest = blake2b(digest_size=16)
        for part in parts:
            value = part if isinstance(part, bytes) else part[i]
            # with the length, so that bytes moved from the end of one part to the start of the next change the hash
            digest.update(len(value).to_bytes(8, "little"))
            digest.update(value)
        hashes.append(digest.digest())
    return hashes


def _parts(tree: Any, records: int) -> Iterator[Any]:
    """The content of inputs, part by part: bytes that all records share, or a sequence of each record's bytes."""
    if isinstance(tree, Tensor):
        yield _rows(tree, records)
    elif isinstance(tree, np.ndarray) and tree.ndim and len(tree) == records:
        yield [content_bytes(row) for row in tree]
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield str(key).encode(errors="backslashreplace")
            yield from _parts(value, records)
    elif isinstance(tree, list | tuple):
        # default_collate returns text as a list with one text for each record
        if len(tree) == records and not any(isinstance(v, Tensor | Mapping | list | tuple) for v in tree):
            yield [content_bytes(value) for value in tree]
        else:
            for value in tree:
                yield from _parts(value, records)
    else:
        yield content_bytes(tree)


def _rows(tensor: Tensor, records: int) -> Any:
    if tensor.layout != torch.strided or tensor.is_nested:
        return [
            content_bytes(row)
            for row in (tensor.unbind() if tensor.is_nested else map(tensor.__getitem__, range(records)))
        ]
    rows = tensor.detach().cpu()
    if not rows.numel():
        return np.empty((records, 0), dtype=np.uint8)
    rows = rows.reshape(records, -1).contiguous()
    if rows.stride(-1) != 1:  # a column of another tensor counts as contiguous, but cannot be viewed as bytes
        rows = rows.clone(memory_format=torch.contiguous_format)
    return np.ascontiguousarray(rows.view(torch.uint8).numpy())
