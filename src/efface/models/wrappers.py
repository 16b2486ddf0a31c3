"""Networks within torch.compile, DataParallel and their like: taking the wrapper off, and names without it."""

import copy
import sys
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from efface.errors import RequestError, describe_error

AVERAGED_COUNT = "n_averaged"  # what AveragedModel counts beside the weights; no weight itself
SHARDING = ("torch.distributed.fsdp", "torch.distributed._composable.fsdp")
# a forward of another kind is a network of the user's own
FORWARDS: dict[type[nn.Module], Callable[..., Any]] = {
    kind: kind.forward for kind in (DataParallel, DistributedDataParallel, AveragedModel)
}


def plain_network(model: nn.Module) -> nn.Module:
    """The network within torch.compile, DataParallel, DistributedDataParallel and AveragedModel, nested in any way.

    Compiled code does not run the hooks by which layers are read, and wrappers change the names of weights.

    Args:
        model: A network; whatever is no nn.Module is given back as it is, for the checks to refuse.

    Returns:
        The model itself if nothing is wrapped. If all of it is wrapped, the network within; if only parts are, a copy
        of the modules with these parts as they are within. Either has the very parameters and buffers of `model`.

    Raises:
        RequestError: A wrapper within the model cannot be taken off.
    """
    if not isinstance(model, nn.Module):
        return model
    while (inner := _within(model)) is not None:
        model = inner[1]
    if not any(_within(m) is not None or m._compiled_call_impl is not None for m in model.modules()):
        return model
    # the copy holds the same tensors; wrappers are replaced wherever the modules refer to them, innermost first
    known: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    try:
        for module in reversed(list(model.modules())):
            if (inner := _within(module)) is not None:
                known[id(module)] = copy.deepcopy(inner[1], known)
        return copy.deepcopy(model, known)
    except Exception as error:  # modules may hold anything
        raise RequestError(
            f"parts of the model are wrapped by torch.compile or DataParallel, which cannot be taken off "
            f"({describe_error(error)}): give the network as it was before"
        ) from error


def sharding_of(model: nn.Module) -> str | None:
    """The name of the class by which a model's weights are shared out among processes; None if each holds them all."""
    for module in model.modules():
        for kind in type(module).__mro__:
            if kind.__module__.startswith(SHARDING) and issubclass(kind, nn.Module):
                return kind.__name__
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor).__module__.startswith("torch.distributed.tensor"):
            return type(tensor).__name__
    return None


def plain_networks(models: Any) -> Any:
    """The `plain_network` of each model in a list; what is no list of models is given back as it is, to be refused."""
    return [plain_network(m) for m in models] if isinstance(models, list | tuple) else models


def plain_names(model: nn.Module) -> dict[str, str]:
    """The names of a model's state, each with its name in the plain network.

    What a wrapper holds beside the network within it is left out.
    """
    places = []
    for name, module in model.named_modules(remove_duplicate=False):
        if (inner := _within(module)) is not None:
            place = f"{name}." if name else ""
            places.append((place, f"{place}{inner[0]}."))
    names = {}
    for name in model.state_dict():
        short, is_count = name, False
        for place, prefix in reversed(places):  # the innermost first, so that the prefixes of outer ones still fit
            is_count = is_count or short == f"{place}{AVERAGED_COUNT}"
            short = place + short.removeprefix(prefix) if short.startswith(prefix) else short
        if not is_count:
            names[name] = short
    return names


def _within(module: nn.Module) -> tuple[str, nn.Module] | None:
    """The name and the network within a wrapper; None for other modules."""
    compiled = getattr(sys.modules.get("torch._dynamo.eval_frame"), "OptimizedModule", None)
    if compiled is not None and isinstance(module, compiled):
        name = "_orig_mod"
    elif any(isinstance(module, kind) and type(module).forward is own for kind, own in FORWARDS.items()):
        name = "module"
    else:
        return None
    own = {*module._parameters, *module._buffers} - {AVERAGED_COUNT}
    inner = module._modules.get(name)
    return None if own or len(module._modules) != 1 or inner is None else (name, inner)
