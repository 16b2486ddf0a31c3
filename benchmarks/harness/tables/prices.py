"""Where steer's price goes: record-trainings and CPU seconds of each phase, a row a request."""

from collections.abc import Iterable

from benchmarks.harness.markdown import NONE, number, percent, price, table, titled
from benchmarks.harness.results import Row
from benchmarks.harness.tables.bars import LOOKS

ORDER = ("checks", "reference", "targets", "steps", "stop checks", "other")  # as a run goes
LEGEND = (
    "Record-trainings / CPU seconds, means over models. A record-training is the forward and backward pass of one "
    "record, whatever the machine; a forward pass alone counts a third. *looks and checks*: the share of the price of "
    f"{' and '.join(LOOKS)}."
)


def prices(rows: Iterable[Row]) -> str:
    """One table of all requests on which steer was run; nothing where it was not."""
    steers = [r for r in rows if r.method == "steer" and r.failed is None]
    if not steers:
        return ""
    found = dict.fromkeys(name for r in steers for name in r.cost.phases)
    phases = [*(p for p in ORDER if p in found), *(p for p in found if p not in ORDER)]
    header = ("data, request", *phases, "whole", "looks and checks", "retraining")
    return f"{table(header, [_line(r, phases) for r in steers])}\n\n{LEGEND}"


def _line(row: Row, phases: list[str]) -> list[str]:
    cost = row.cost
    each = [cost.phases.get(p, (None, None)) for p in phases]
    looks = cost.part_of_price(*LOOKS)
    return [
        titled(row.setting),
        *(f"{price(trainings)} / {number(spent)}" for spent, trainings in each),
        f"{price(cost.price)} / {number(cost.cpu_s)}",
        NONE if looks is None else percent(round(looks, 3)),
        price(cost.retrain_price),
    ]
