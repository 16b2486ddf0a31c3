"""The length of training: when watching ends, and what is chosen."""

from dataclasses import replace

import pytest

from benchmarks.harness.networks import Fit
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.training_length import Epoch, choose, train_and_watch

DIGITS = PROBLEMS["noisy-digits"]


def test_lengths_stop_at_the_most_epochs_and_are_the_same_again() -> None:
    found = [list(train_and_watch(DIGITS, 600, max_epochs=2)) for _ in range(2)]
    assert [e.number for e in found[0]] == [1, 2]
    assert [replace(e, cpu_s=0.0) for e in found[0]] == [replace(e, cpu_s=0.0) for e in found[1]]
    assert all(0 <= e.known <= 1 and 0 <= e.held <= 1 and e.loss > 0 for e in found[0])
    assert 0 < found[0][0].cpu_s < found[0][1].cpu_s


def test_lengths_end_when_records_are_known_or_the_loss_falls_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [3.0, 2.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    monkeypatch.setattr(Fit, "passes", lambda *_: iter(losses))
    assert len(list(train_and_watch(DIGITS, 600, max_epochs=10))) == 8
    monkeypatch.setattr("benchmarks.harness.training_length.utility", lambda *_: 0.99)
    assert len(list(train_and_watch(DIGITS, 600, max_epochs=10))) == 1


@pytest.mark.parametrize(
    ("losses", "known", "said"),
    [
        ([3.0, 2.0], [0.5, 0.99], "train for 2 epochs, which teach 98% of its records; best accuracy on the holdout"),
        ([3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0], [0.5] * 7, "train for 2 epochs, after which the training loss falls no"),
        (
            [3.0, 2.0, 1.0],
            [0.5] * 3,
            "not settled after 3 epochs: give a larger --max-epochs; best accuracy",
        ),
    ],
    ids=["known", "still", "not settled"],
)
def test_a_length_is_chosen_by_the_rule(losses: list[float], known: list[float], said: str) -> None:
    # the last epoch would be best, but it may come after the chosen length
    found = [Epoch(i + 1, loss, k, i / 10, 1.0) for i, (loss, k) in enumerate(zip(losses, known, strict=True))]
    words = choose(found)
    length = 3 if "not settled" in said else 2
    assert words.startswith(said) and words.endswith(f"after {length}")
