"""What a look at single requested records found, and what it could have seen."""

from collections.abc import Mapping
from dataclasses import dataclass

from efface.auditing.audit_test import ALPHA
from efface.runtime.printing import Brief

SEES_NOTHING = 2 * ALPHA  # a look that finds skipped records no more often than this is said to see nothing


@dataclass(frozen=True, repr=False)
class RecordRanks(Brief):
    """One statistic of single requested records, beside never-seen records of equal difficulty.

    Args:
        key: Its name in reports.
        title: Its name for people.
        others: How many never-seen records each requested one is compared with.
        records: Positions in the request of the records that were looked at.
        ranks: By model (`original`, `unlearned`, `retrained`) the share of the never-seen records that look less
            known than each of `records`, from 0 to 1; 0.5 is the middle, 1 the most known. Without `retrained` if
            no retrained model is there; their mean if there are several.
        could_see: For each of `records` the share of training records of its difficulty that stand out under the
            original, where they were not forgotten: beyond all but 5 % of the never-seen ones. This look sees a
            record that was skipped so often; at 0.05 it sees nothing.
        why: Why nothing was looked at; empty if something was.
    """

    key: str
    title: str
    others: int
    records: tuple[int, ...]
    ranks: Mapping[str, tuple[float, ...]]
    could_see: tuple[float, ...]
    why: str = ""

    @classmethod
    def missing(cls, key: str, title: str, why: str) -> "RecordRanks":
        """A look that was not taken, with the reason."""
        return cls(key, title, 0, (), {}, (), why)

    def sentence(self, at: int) -> str:
        """What the look says of one of its records, and what it could have seen.

        Args:
            at: Which of `records`.
        """
        shown = {who: f"{100 * ranks[at]:.0f} %" for who, ranks in self.ranks.items()}
        retraining = f", {shown['retrained']} after retraining" if "retrained" in shown else ""
        return (
            f"{self.title}: more like a training record than {shown['original']} of the never-seen records before, "
            f"{shown['unlearned']} after unlearning{retraining}; {self._power(self.could_see[at])}"
        )

    @staticmethod
    def _power(seen: float) -> str:
        if seen <= SEES_NOTHING:
            return "so small a trace this look cannot see"
        return f"a record that was skipped would stand out {100 * seen:.0f} times in 100"
