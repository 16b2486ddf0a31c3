"""Label-free and label-aware statistics, offline LiRA and U-LiRA, against slow loops, exact decimals and simulation."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from torch import Tensor

from efface.attacks.lira import lira, pooled_spread
from efface.attacks.outputs import RecordOutputs
from efface.attacks.statistics import confidence, entropy, loss, modified_entropy
from efface.attacks.ulira import WEIGHT, ULira, ulira
from efface.errors import RequestError

N, CLASSES = 30, 5
STATISTICS = {"confidence": confidence, "entropy": entropy, "modified_entropy": modified_entropy}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def a_view(seed: int, classes: int = CLASSES, scale: float = 3.0) -> RecordOutputs:
    return RecordOutputs(scale * normal(N, classes, seed=seed).float(), torch.arange(N) % classes, None)


def exact(key: str, logits: list[float], label: int) -> float:
    """The definition, by class, with 400 decimals, so that no probability is near 0 or 1 for it."""
    with localcontext() as context:
        context.prec = 400
        weights = [Decimal(z).exp() for z in logits]
        p = [w / sum(weights) for w in weights]
        if key == "confidence":
            return float(max(p).ln())
        if key == "entropy":
            return float(sum(q * q.ln() for q in p))
        total = -(1 - p[label]) * p[label].ln()
        for c, q in enumerate(p):
            if c != label:
                total -= q * (1 - q).ln()
        return float(-total)


@pytest.mark.parametrize("key", STATISTICS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_statistics_are_those_of_exact_decimals(key: str, scale: float, classes: int) -> None:
    ours = a_view(0, classes, scale)
    found = STATISTICS[key](ours, ())
    expected = [exact(key, z, t) for z, t in zip(ours.logits.tolist(), ours.targets.tolist(), strict=True)]
    assert found.dtype == torch.float64 and found.shape == (N,)
    assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=0)
    assert bool((found <= 0).all())


def test_entropy_is_scipys() -> None:
    ours = a_view(1)
    expected = -scipy_entropy(ours.logits.double().softmax(1).numpy(), axis=1)
    assert entropy(ours, ()).tolist() == pytest.approx(expected.tolist())


def test_modified_entropy_by_hand() -> None:
    """p = (.7, .2, .1): each other class counts its own log(1 - p), and no class but the label its log p."""
    logits = torch.tensor([[0.7, 0.2, 0.1]] * 2).log()
    found = modified_entropy(RecordOutputs(logits, torch.tensor([0, 1]), None), ())
    right = 0.3 * math.log(0.7) + 0.2 * math.log(0.8) + 0.1 * math.log(0.9)
    wrong = 0.8 * math.log(0.2) + 0.7 * math.log(0.3) + 0.1 * math.log(0.9)
    assert found.tolist() == pytest.approx([right, wrong], rel=1e-6)


@given(st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_properties_of_the_statistics(logits: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(logits) - 1))
    shift = data.draw(st.integers(-64, 64))
    order = data.draw(st.permutations(range(len(logits))))
    z = torch.tensor([logits], dtype=torch.float64)
    here = RecordOutputs(z, torch.tensor([label]), None)
    moved = RecordOutputs(z[:, order] + shift, torch.tensor([order.index(label)]), None)
    for key, score in STATISTICS.items():
        value = float(score(here, ()))
        assert value == pytest.approx(float(score(moved, ())), rel=1e-9, abs=1e-300), key
        assert -math.inf < value <= 0, key
    assert float(confidence(here, ())) >= -math.log(len(logits)) - 1e-12
    assert float(entropy(here, ())) >= -math.log(len(logits)) - 1e-12
    # the label's log-probability is at most the best one's, and entropy at least as low as the best one's surprise
    assert float(loss(here, ())) <= float(confidence(here, ())) + 1e-12
    assert float(entropy(here, ())) <= float(confidence(here, ())) + 1e-12


def test_the_label_matters_to_modified_entropy_alone() -> None:
    ours = a_view(2)
    other = RecordOutputs(ours.logits, (ours.targets + 1) % CLASSES, None)
    assert torch.equal(confidence(ours, ()), confidence(other, ()))
    assert torch.equal(entropy(ours, ()), entropy(other, ()))
    assert not torch.allclose(modified_entropy(ours, ()), modified_entropy(other, ()))


def test_surer_of_the_label_is_a_higher_score_without_end() -> None:
    """1 - p falls to 1e-130, where probabilities are all 1 to a float; sure and wrong falls as far."""
    rise = torch.arange(300, dtype=torch.float64)
    logits = torch.stack([rise, torch.zeros(300), torch.zeros(300) - 1], 1).double()
    right, wrong = (RecordOutputs(logits, torch.full((300,), t), None) for t in (0, 1))
    for score in STATISTICS.values():
        assert bool((score(right, ()).diff() > 0).all())
    assert bool((modified_entropy(wrong, ())[1:].diff() < 0).all())
    assert float(modified_entropy(wrong, ())[-1]) == pytest.approx(-2 * 299, rel=0.01)


def test_a_class_that_cannot_be_is_no_class() -> None:
    logits = torch.cat([a_view(0).logits, torch.full((N, 1), -torch.inf)], 1)
    for score in STATISTICS.values():
        assert torch.equal(score(RecordOutputs(logits, a_view(0).targets, None), ()), score(a_view(0), ()))


# LiRA


def slow_margin(logits: list[float], label: int) -> float:
    p = math.exp(logits[label]) / sum(map(math.exp, logits))
    return math.log(p / (1 - p))


def test_lira_is_that_of_a_slow_loop() -> None:
    ours, references = a_view(0), [a_view(1), a_view(2), a_view(3)]
    spread = pooled_spread(references)
    outs = [[slow_margin(r.logits[i].tolist(), i % CLASSES) for r in references] for i in range(N)]
    assert spread == pytest.approx(math.sqrt(np.mean([np.var(out, ddof=1) for out in outs])), rel=1e-5)
    found = lira(ours, references, spread)
    assert found is not None and found.dtype == torch.float64
    own = [slow_margin(z, i % CLASSES) for i, z in enumerate(ours.logits.tolist())]
    expected = [(phi - np.mean(out)) / spread for phi, out in zip(own, outs, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    # the paper's form, whose rank it has, with or without the spread
    paper = [norm.logcdf(phi, np.mean(out), spread) for phi, out in zip(own, outs, strict=True)]
    plain = lira(ours, references)
    assert plain is not None
    assert np.argsort(paper).tolist() == found.argsort().tolist() == plain.argsort().tolist()


def test_a_records_lira_score_depends_on_no_other_record() -> None:
    def part(v: RecordOutputs) -> RecordOutputs:
        return RecordOutputs(v.logits[3:9], v.targets[3:9], None)

    ours, references = a_view(0), [a_view(1), a_view(2)]
    whole, some = lira(ours, references), lira(part(ours), [part(r) for r in references])
    assert whole is not None and some is not None and torch.equal(whole[3:9], some)


def test_lira_without_enough_references() -> None:
    assert lira(a_view(0), ()) is None
    assert lira(a_view(0), [a_view(1)]) is not None
    assert pooled_spread([a_view(1)]) == 1.0
    assert pooled_spread([a_view(1), a_view(1)]) == 1.0
    both = pooled_spread([a_view(1), a_view(2)], [a_view(3), a_view(4)])
    apart = [pooled_spread([a_view(1), a_view(2)]), pooled_spread([a_view(3), a_view(4)])]
    assert both == pytest.approx(math.sqrt((apart[0] ** 2 + apart[1] ** 2) / 2))


# U-LiRA


def slow_variance(values: list[float], other: list[float], shares: tuple[float, float]) -> float:
    """The shrunk variance of `values`; shares: the mean over records of its own and of the common variance."""
    freedom = len(values) + len(other) - 2
    squares = [sum((v - np.mean(x)) ** 2 for v in x) for x in (values, other)]
    target = sum(squares) / freedom * shares[0] / shares[1]
    return float((WEIGHT * target + squares[0]) / (WEIGHT + len(values) - 1))


def slow_ulira(ours: np.ndarray, theirs: np.ndarray) -> ULira:
    """Pair by pair and record by record, with scipy's densities and scikit-learn's AUC."""
    (k, n), r = ours.shape, len(theirs)
    table = np.zeros((2, k, r, n))
    for i in range(k):
        for j in range(r):
            a, b = np.delete(ours, i, 0), np.delete(theirs, j, 0)
            levels = [float(x.var(0, ddof=1).mean()) for x in (a, b)]
            common = ((k - 2) * levels[0] + (r - 2) * levels[1]) / (k + r - 4)
            for c in range(n):
                x, y = a[:, c].tolist(), b[:, c].tolist()
                fits = [
                    (np.mean(x), math.sqrt(slow_variance(x, y, (levels[0], common)))),
                    (np.mean(y), math.sqrt(slow_variance(y, x, (levels[1], common)))),
                ]
                for kind, value in enumerate((ours[i, c], theirs[j, c])):
                    table[kind, i, j, c] = norm.logpdf(value, *fits[0]) - norm.logpdf(value, *fits[1])
    pairs = [(i, j) for i in range(k) for j in range(r)]
    labels = np.repeat([1, 0], n)
    auc = np.mean([roc_auc_score(labels, table[:, i, j].ravel()) for i, j in pairs])
    return ULira(float(((table[0] > 0).mean() + (table[1] < 0).mean()) / 2), float(auc))


@pytest.mark.parametrize(("k", "r"), [(4, 4), (3, 5)])
def test_ulira_is_that_of_a_slow_loop(k: int, r: int) -> None:
    spread = 1 + normal(12, seed=5).abs()
    ours, theirs = 50 + 0.7 * spread * (0.5 + normal(k, 12)), 50 + spread * normal(r, 12, seed=1)
    found, expected = ulira(ours, theirs), slow_ulira(ours.numpy(), theirs.numpy())
    assert (found.accuracy, found.auc) == pytest.approx((expected.accuracy, expected.auc))


@pytest.mark.parametrize(("k", "r", "trials"), [(8, 8, 150), (32, 32, 25), (6, 20, 100)])
def test_models_that_are_alike_cannot_be_told(k: int, r: int, trials: int) -> None:
    """Skewed and unequal records, common shifts of a model: 4 standard errors of the mean are well below .01."""
    found = []
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.1, 3, 60, dtype=torch.float64)
    for _ in range(trials):
        z = torch.randn(k + r, 60, generator=generator, dtype=torch.float64)
        z += 0.2 * torch.randn(k + r, 1, generator=generator, dtype=torch.float64)
        z = scale * (z + 0.2 * z**2)
        one = ulira(z[:k], z[k:])
        found.append([one.accuracy, one.auc])
    values = np.array(found)
    errors = values.std(0) / math.sqrt(trials)
    assert bool((4 * errors < 0.0125).all()), errors
    assert values.mean(0).tolist() == pytest.approx([0.5] * 2, abs=float(4 * errors.max()))


def test_ulira_sees_shifts_and_narrower_ensembles() -> None:
    """The best guess of a shift of 2 standard deviations is right at Phi(1), and its AUC is Phi(sqrt 2)."""
    theirs, more = normal(32, 400), normal(32, 400, seed=1)
    shifted = ulira(more + 2, theirs)
    assert shifted.accuracy == pytest.approx(norm.cdf(1), abs=0.015)
    assert shifted.auc == pytest.approx(norm.cdf(math.sqrt(2)), abs=0.015)
    assert ulira(more - 2, theirs).accuracy == pytest.approx(norm.cdf(1), abs=0.015)
    assert ulira(0.3 * more, theirs).accuracy > 0.72


def test_ulira_has_no_unit_and_no_side() -> None:
    ours, theirs = normal(5, 40) + 0.5, normal(6, 40, seed=1)
    plain = ulira(ours, theirs)
    for other in (ulira(7 * ours + 3, 7 * theirs + 3), ulira(-ours, -theirs), ulira(theirs, ours)):
        assert (other.accuracy, other.auc) == pytest.approx((plain.accuracy, plain.auc))


def test_ulira_where_nothing_differs_and_with_too_few_models() -> None:
    still = normal(20).expand(4, 20)
    nothing = ulira(still, still)
    assert (nothing.accuracy, nothing.auc) == (0.5, 0.5)
    assert ulira(still + 1, still).accuracy == 1.0
    with pytest.raises(RequestError, match="at least 3"):
        ulira(normal(2, 5), normal(8, 5))
