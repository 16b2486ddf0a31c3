"""What descent methods share: the divergence from a teacher, and which batches a loss gets."""

import pytest
import torch
from torch import Tensor, nn

from efface.data.records import Batch
from efface.methods import Finetune
from efface.methods.descent import Source, divergence
from helpers.by_hand import problem_of, slow_kl
from helpers.tiny import Tiny


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_divergence_against_a_loop(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(7, 4, generator=generator), torch.randn(7, 4, generator=generator)
    ours = divergence(teacher, student, temperature)
    assert ours.item() == pytest.approx(slow_kl(teacher, student, temperature).item(), rel=1e-5)
    assert ours.item() != pytest.approx(divergence(student, teacher, temperature).item(), rel=1e-3)
    assert divergence(teacher, teacher, temperature).item() == pytest.approx(0.0, abs=1e-6)


def test_a_loss_gets_its_batches_in_the_order_of_the_sources_and_a_purpose_seeds_the_draw(tiny: Tiny) -> None:
    def drawn(*sources: Source) -> list[list[list[float]]]:
        """The first features of each source's batches, over two steps."""
        problem = problem_of(tiny, tiny.model)
        seen: list[list[list[float]]] = [[] for _ in sources]

        def loss(*batches: Batch) -> Tensor:
            for rows, batch in zip(seen, batches, strict=True):
                rows.append(batch.inputs[:, 0].tolist())
            return torch.stack([problem.logits(b)[0].square().mean() for b in batches]).sum()

        list(Finetune(steps=2, batch=4).sgd(problem, loss, sources))
        return seen

    problem = problem_of(tiny, tiny.model)
    retain, forget = Source("retain", problem.retain), Source("forget", problem.forget)
    one, other = drawn(retain, forget), drawn(forget, retain)
    assert one == other[::-1]
    assert {v for rows in one[1] for v in rows} <= set(tiny.x[list(tiny.forget), 0].tolist())
    [anew] = drawn(Source("beside", problem.retain))
    assert anew != one[0]


def test_a_source_of_one_record_keeps_the_model_in_eval_mode(tiny: Tiny) -> None:
    problem = problem_of(tiny, nn.Sequential(tiny.fresh(), nn.BatchNorm1d(3)))
    modes = []

    def loss(batch: Batch) -> Tensor:
        modes.append(problem.model.training)
        return problem.logits(batch)[0].square().mean()

    for positions in (problem.forget, problem.forget[:1]):
        list(Finetune(steps=1).sgd(problem, loss, [Source("forget", positions)]))
    assert modes == [True, False]
