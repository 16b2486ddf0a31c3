"""bad_teacher: its first step by hand, and what both teachers do to the model."""

import torch

from efface.methods import BadTeacher
from efface.methods.descent import divergence
from efface.models.init import fresh_model
from efface.runtime.seeds import derive_seed
from helpers.by_hand import ALL, adam, flat, slope, slow_kl, small, steady, unlearned
from helpers.tiny import Tiny, bits, weights


def test_the_first_step_of_bad_teacher(tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    result, read = unlearned(tiny, model, BadTeacher(steps=1, lr=0.01, batch=ALL, share=1.0, temperature=2.0))
    random = fresh_model(tiny.task(), model, derive_seed(0, "bad_teacher", "teacher"))
    assert weights(random) != weights(model)
    # the original is its own teacher, so the retain records pull at nothing yet
    n = len(f) + len(read)
    loss = len(f) / n * slow_kl(random(tiny.x[f]), model(tiny.x[f]), 2.0)
    loss = loss + len(read) / n * slow_kl(model(tiny.x[read]), model(tiny.x[read]), 2.0)
    down = slope(model, loss)
    sure = steady(down)
    assert sure.float().mean() > 0.9
    assert torch.allclose(flat(result.model)[sure], adam(flat(model), [down], 0.01)[sure], atol=2e-5)


def test_bad_teacher_pulls_both_ways(tiny: Tiny) -> None:
    model, f = tiny.model, list(tiny.forget)
    result, read = unlearned(tiny, model, BadTeacher(steps=60, lr=5e-3, share=1.0))
    random = fresh_model(tiny.task(), model, derive_seed(0, "bad_teacher", "teacher"))
    with torch.no_grad():
        before, after = (divergence(random(tiny.x[f]), m(tiny.x[f])).item() for m in (model, result.model))
        right = (result.model(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean().item()
    assert after < 0.5 * before
    assert right > 0.9


def test_the_teacher_stays_as_it_was_and_the_student_does_not(tiny: Tiny) -> None:
    model = tiny.fresh().train()
    before = bits(model)
    result, _ = unlearned(tiny, model, BadTeacher(steps=4))
    assert bits(model) == before
    assert weights(result.model) != weights(model)
