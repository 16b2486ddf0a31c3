"""Dividing the rows of a batch among processes, from outside of the network and of the method that trains it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils.hooks import RemovableHandle

from efface.data.records import leaves_in, map_tensors, tensors_in
from efface.errors import EffaceError
from efface.parallel.maps import Share, all_rows, mean, own_rows
from efface.parallel.processes import collect, start
from efface.runtime.seeds import unchanged_globals

# by the name of a module's hooks, the names of the sets that say more of some of them
HOOKS = {
    "_forward_pre_hooks": ("_forward_pre_hooks_with_kwargs",),
    "_forward_hooks": ("_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    "_backward_hooks": (),
    "_backward_pre_hooks": (),
}


class Spread:
    """Divides the forward passes of some networks, and the backward passes that follow, among the processes.

    A pass is divided where the batch has a row for each process and its outputs are those of the whole batch. The
    first pass of each kind tries that: a network whose outputs depend on other rows of the batch or on random draws, or
    that changes a buffer (BatchNorm and Dropout in train mode), runs whole in every process, which is right, but no
    faster. So does one whose layers are listened to by hooks, since these would miss rows, and one whose weights
    are for the moment other tensors than its parameters (`torch.func`).

    The gradient of a parameter is the mean over processes at every backward pass, `torch.autograd.grad` included; see
    `efface.parallel.maps`. Passes without gradients are divided too. Copies of a network are divided as well, until
    `close`.
    """

    def __init__(self) -> None:
        state = start()
        self._rank: int = 0 if state is None else state.process_index
        self._world: int = 1 if state is None else state.num_processes
        self._paused = state is None
        self._inside: tuple[nn.Module, Share] | None = None
        self._known: WeakKeyDictionary[nn.Module, dict[Any, bool]] = WeakKeyDictionary()
        self._gradients: dict[int, tuple[ref[Tensor], RemovableHandle]] = {}

    def __deepcopy__(self, memo: object) -> "Spread":
        return self  # a network's hooks are copied with it, and are this one's still

    def add(self, network: nn.Module) -> None:
        """Divide the passes of a network, and those of every copy of it."""
        if not self._belongs(network):
            network.register_forward_pre_hook(self._before, with_kwargs=True)
            network.register_forward_hook(self._after, with_kwargs=True, always_call=True)
        self._known.setdefault(network, {})

    def remove(self, network: nn.Module) -> None:
        """Leave a network as it was before `add`, or a copy as if its source had never been added."""
        for name, more in HOOKS.items():
            hooks = getattr(network, name)
            for key in [key for key, hook in hooks.items() if getattr(hook, "__self__", None) is self]:
                for place in (name, *more):
                    getattr(network, place).pop(key, None)
        for parameter in network.parameters():
            _, handle = self._gradients.pop(id(parameter), (None, None))
            if handle is not None:
                handle.remove()

    def close(self) -> None:
        """Divide nothing any more, and leave every network that was added or ran as it was."""
        self._paused = True
        for network in list(self._known):
            self.remove(network)
        for _, handle in self._gradients.values():
            handle.remove()
        self._gradients.clear()

    def _belongs(self, network: nn.Module) -> bool:
        return any(getattr(hook, "__self__", None) is self for hook in network._forward_pre_hooks.values())

    def _before(self, network: nn.Module, args: Any, kwargs: Any) -> Any:
        """Forward pre-hook: this process's rows of everything."""
        if self._paused or self._inside is not None:
            return None
        known = self._known.setdefault(network, {})
        found = list(tensors_in((args, kwargs)))
        rows = len(found[0]) if found and found[0].ndim else 0
        if rows < self._world or any(t.ndim == 0 or len(t) != rows for t in found):
            return None
        if self._listened(network) or any(not p.is_leaf or type(p) is Tensor for p in network.parameters()):
            return None
        share = Share(rows, self._rank, self._world)
        own_args, own_kwargs = map_tensors((args, kwargs), lambda t: own_rows(t, share))
        kind = (
            tuple(m.training for m in network.modules()),
            torch.is_grad_enabled(),
            tuple((t.ndim, t.dtype) for t in found),
        )
        if kind not in known:
            known[kind] = self._agreed(found, self._same(network, share, (args, kwargs), (own_args, own_kwargs)))
        if not known[kind]:
            return None
        for parameter in network.parameters() if torch.is_grad_enabled() else ():
            self._average(parameter)
        self._inside = network, share
        return own_args, own_kwargs

    def _after(self, network: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        """Forward hook, called after a failure as well: the rows of all processes."""
        if self._inside is None or self._inside[0] is not network:
            return None
        (_, share), self._inside = self._inside, None
        return map_tensors(output, lambda t: all_rows(t, share))

    def _average(self, parameter: nn.Parameter) -> None:
        """From now on, let its gradient be the mean over processes."""
        if not parameter.requires_grad:
            return
        held, _ = self._gradients.get(id(parameter), (lambda: None, None))
        if held() is not parameter:  # ids of tensors that are gone are given again
            self._gradients[id(parameter)] = ref(parameter), parameter.register_hook(mean)

    def _listened(self, network: nn.Module) -> bool:
        """Whether anyone else has hooks on the network, its layers, or all modules."""
        if any(getattr(torch_module, f"_global{name}") for name in HOOKS):
            return True
        return any(
            getattr(hook, "__self__", None) is not self
            for module in network.modules()
            for name in HOOKS
            for hook in getattr(module, name).values()
        )

    def _same(self, network: nn.Module, share: Share, whole: Any, own: Any) -> bool:
        """Whether the outputs of some rows are those of the whole batch, and nothing was drawn or kept on the way."""
        with self._untouched(network) as changed, torch.no_grad():
            try:
                outputs, parts = network(*whole[0], **whole[1]), network(*own[0], **own[1])
                return not changed() and all(
                    _alike(a, b, share) for a, b in zip(leaves_in(outputs), leaves_in(parts), strict=True)
                )
            except Exception:  # such as of a fixed number of rows; where the whole batch fails, it will again
                return False

    @contextmanager
    def _untouched(self, network: nn.Module) -> Iterator[Any]:
        """Passes of a network without a trace in it; yields whether they have left any, or drawn at random, so far."""
        buffers = {name: (b, b.clone()) for name, b in network.named_buffers()}
        before = _draws()

        def changed() -> bool:
            now = dict(network.named_buffers())
            return _draws() != before or any(
                now.get(name) is not b or not torch.equal(b, was) for name, (b, was) in buffers.items()
            )

        self._paused = True
        try:
            with unchanged_globals():
                yield changed
        finally:
            self._paused = False
            with torch.no_grad():
                for name, (buffer, was) in buffers.items():
                    owner, _, attribute = name.rpartition(".")
                    network.get_submodule(owner)._buffers[attribute] = buffer
                    if not torch.equal(buffer, was):
                        buffer.copy_(was)

    def _agreed(self, inputs: list[Tensor], same: bool) -> bool:
        """Whether all processes may divide a kind of pass; EffaceError where they do not read the same records."""
        digest = blake2b(digest_size=16)
        for tensor in inputs:
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        told = collect((digest.digest(), same))
        if len({read for read, _ in told}) > 1:
            raise EffaceError("the processes read different records: the task must give each of them the same")
        return all(fine for _, fine in told)


def _alike(whole: Any, own: Any, share: Share) -> bool:
    """Whether a part of an output is what it is in the whole batch, but for rounding."""
    if not isinstance(whole, Tensor):
        return bool(whole is own or whole == own)
    if not whole.ndim or len(whole) != share.rows or own.shape != (share.sizes[share.rank], *whole.shape[1:]):
        return False
    part = whole[share.own]
    if not part.is_floating_point():
        return torch.equal(part, own)
    slack = torch.finfo(part.dtype).eps ** 0.5
    largest = float(part.abs().max()) if part.numel() else 0.0
    return torch.allclose(part, own, rtol=slack, atol=slack * largest, equal_nan=True)


def _draws() -> tuple[Any, ...]:
    """The state of every generator that a network may draw from."""
    legacy: Any = np.random.get_state()
    cuda = torch.cuda.get_rng_state().numpy().tobytes() if torch.cuda.is_initialized() else b""
    return random.getstate(), str(legacy[2:]), legacy[1].tobytes(), torch.get_rng_state().numpy().tobytes(), cuda
