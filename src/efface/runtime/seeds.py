"""Seeding random generators, and restoring the global state of the process."""

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def _rng_states() -> tuple[Any, Any, torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore_rng(states: tuple[Any, Any, torch.Tensor, list[torch.Tensor]]) -> None:
    python, legacy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(legacy)
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all global random generators within the block, and restore their states after it.

    These are Python's generator, NumPy's legacy generator, and torch's on the CPU and on every CUDA device.

    Args:
        seed: any integer; seeds that are equal modulo 2**64 give the same numbers.
    """
    states = _rng_states()
    unsigned = seed % 2**64  # random.seed uses the absolute value, so -1 and 1 would otherwise give the same numbers
    try:
        random.seed(unsigned)
        np.random.seed(unsigned % 2**32)
        # not torch.manual_seed: before CUDA is initialised it queues a call that would take effect after this block
        torch.default_generator.manual_seed(unsigned)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(unsigned)
        yield
    finally:
        _restore_rng(states)


@contextmanager
def unchanged_globals() -> Iterator[None]:
    """Restore global state after the block, since a user's model or data may change it.

    It restores all random states, grad mode, the default dtype, and the deterministic and cuDNN flags.
    """
    states = _rng_states()
    grad = torch.is_grad_enabled()
    dtype = torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        _restore_rng(states)


def derive_seed(seed: int, *names: str) -> int:
    """Derive a seed for one purpose; it is the same on every machine and in every version.

    Args:
        seed: the seed of the run.
        *names: words that name the purpose; other words, or the same words joined differently, give another seed.

    Returns:
        An integer in [0, 2**63).
    """
    # JSON keeps ("ab", "c") and ("a", "bc") apart
    text = json.dumps([seed, *names]).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
