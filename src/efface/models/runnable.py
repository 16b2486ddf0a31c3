"""Whether a model can be run at all, as far as its weights show it."""

from torch import nn
from torch.nn.parameter import is_lazy

from efface.errors import shorten
from efface.models.checkpoint import strange_state
from efface.models.running import all_finite
from efface.models.wrappers import sharding_of
from efface.runtime.kinds import network_problem


def problem_before_a_pass(model: nn.Module) -> str | None:
    """Why a model cannot be used, as far as its weights show it; None if it may be."""
    if problem := network_problem(model):
        return problem
    if kind := sharding_of(model):
        return (
            f"the model is shared out among processes ({kind}), and none has all of its weights: give the whole "
            "network, with a full state dict loaded into it"
        )
    if not list(model.parameters()):
        return "the model has no parameters, so there is nothing to unlearn from"
    if any(is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        return "the model has lazy layers without a shape: run it on a batch of records first"
    if odd := strange_state(model):
        return f"the model's state holds sparse, quantised or meta tensors ({shorten(odd, show=str)}): use dense ones"
    return None if all_finite(model) else "the model's weights hold NaN or infinite values"
