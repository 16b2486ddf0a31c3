"""Finding which names in a weights file are which of a model's, where a wrapper put a prefix before all of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from efface.errors import CheckpointError, shorten
from efface.models.wrappers import AVERAGED_COUNT

Shapes = Mapping[str, Sequence[int]]

# the names of a network within torch.compile, DataParallel and others, and within most people's own wrappers
PREFIXES = (
    *("module.", "_orig_mod.", "_module.", "_forward_module."),
    *("model.", "net.", "network.", "backbone."),
)
# where torch.compile or DataParallel wrapped a part of the model, in the middle of a name
INNER = frozenset({"module", "_orig_mod"})
# no weights of the network: the weights of classes within a loss, and the count of an AveragedModel
LOSSES = ("loss.", "loss_fn.", "criterion.")


@dataclass(frozen=True)
class NameFit:
    """How the names in a file are read.

    Args:
        names: The names in the file, each with its name in the model.
        how: How they differ, as a part of a message; empty if they do not.
    """

    names: Mapping[str, str]
    how: str = ""


def fit_names(file: str, names: Shapes, wanted: Shapes, tied: Sequence[Sequence[str]]) -> NameFit:
    """Find the prefix to leave out of the names in a file, or to put before them, so that they are the model's.

    It is one of those that wrappers are known by, and all names must fit exactly. The model's own names come first.

    Args:
        file: The file, for messages.
        names: The names in the file, with the shapes of the weights.
        wanted: The model's names, likewise.
        tied: The model's names; those that share one weight together, of which the file needs to hold one.

    Returns:
        The fit; if there is none, the one with the most names in common, so that the others can be reported.

    Raises:
        CheckpointError: Several readings would fit, or one by a prefix that is not known; in one line.
    """
    own = [name for name in names if name in wanted or not _is_beside(name)]
    fits = [NameFit({name: name for name in names}), *_readings(own, wanted)]
    exact = [fit for fit in fits if _is_exact(fit, wanted, tied)]
    if not exact:
        _refuse_other_prefixes(file, names, wanted, tied)
        return max(fits, key=lambda fit: len(wanted.keys() & fit.names.values()))
    if exact[0].how and (other := next((fit for fit in exact if fit.names != exact[0].names), None)):
        raise CheckpointError(f"{file}: its names fit the model in two ways, {exact[0].how} and {other.how}")
    return exact[0]


def _readings(names: Collection[str], wanted: Collection[str]) -> Iterator[NameFit]:
    """Every way to read the names in a file: without what wrappers put into them, and with what the model's have."""
    within = {name: _without_inner(name) for name in names}
    starts = [("", {name: name for name in names})]
    if len(set(within.values())) == len(names) and any(name != short for name, short in within.items()):
        starts.append(("module and _orig_mod", within))
    for left_out, start in starts:
        for prefix in _shared(start.values()):
            removed = " and ".join(part for part in (left_out, prefix) if part)
            for before in _shared(wanted):
                how = [f"without {removed}"] * bool(removed) + [f"with {before} before them"] * bool(before)
                yield NameFit(
                    {name: before + short.removeprefix(prefix) for name, short in start.items()}, " and ".join(how)
                )


def _without_inner(name: str) -> str:
    *modules, last = name.split(".")
    return ".".join([*(part for part in modules if part not in INNER), last])


def _shared(names: Collection[str]) -> Iterator[str]:
    """The known prefixes that all names share: none, then one, then that with the next one, and so on."""
    prefix, longer = "", True
    yield prefix
    while longer:
        longer = False
        for known in PREFIXES:
            if names and all(name.startswith(known, len(prefix)) for name in names):
                prefix, longer = prefix + known, True
                yield prefix
                break


def _is_beside(name: str) -> bool:
    return name.startswith(LOSSES) or name.rpartition(".")[2] == AVERAGED_COUNT


def _is_exact(fit: NameFit, wanted: Shapes, tied: Sequence[Sequence[str]]) -> bool:
    given = set(fit.names.values())
    return given <= wanted.keys() and all(any(name in given for name in group) for group in tied)


def _refuse_other_prefixes(file: str, names: Shapes, wanted: Shapes, tied: Sequence[Sequence[str]]) -> None:
    """Refuse a file whose weights would fit by a prefix that is not known, or that only some of the names have."""
    first = tied[0] if tied else ()
    prefixes = sorted({name.removesuffix(end) for end in first for name in names if name.endswith(f".{end}")})
    fitting = []
    for prefix in prefixes:
        part = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        if _is_exact(NameFit(part), wanted, tied) and all(names[k] == wanted[v] for k, v in part.items()):
            fitting.append(prefix)
    if fitting:
        which = "the one that is meant" if len(fitting) > 1 else "them"
        raise CheckpointError(
            f"{file}: every name of the model is there under {shorten(fitting, show=str)}, beside other names or under "
            f"a prefix that efface does not leave out by itself: save {which} as a state dict, "
            f"{{k.removeprefix({fitting[0]!r}): v for k, v in state.items() if k.startswith({fitting[0]!r})}}"
        )
    one = min(names, default="")
    for before in sorted(name.removesuffix(one) for name in wanted if one and name.endswith(f".{one}")):
        part = {name: before + name for name in names}
        if _is_exact(NameFit(part), wanted, tied) and all(names[k] == wanted[v] for k, v in part.items()):
            raise CheckpointError(
                f"{file}: every name would fit the model with {before} before it: load the file into that part of the "
                f"network and save all of it, or save {{{before!r} + k: v for k, v in state.items()}}"
            )
