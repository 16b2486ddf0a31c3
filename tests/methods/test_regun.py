"""regun: its first step by hand, and which never-seen records speak for which forget records."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import TensorDataset

from efface import Task
from efface.methods import ReGUn
from helpers.by_hand import ALL, same, small, stepped, unlearned
from helpers.tiny import CLASSES, HOLDOUT, Tiny


def corners(tiny: Tiny, labels: Tensor) -> tuple[Task, Tensor]:
    """The task with never-seen records that are all alike within a label, and one such record of each class."""
    one = 3.5 * torch.eye(CLASSES, tiny.x.shape[1])
    return tiny.task(holdout=TensorDataset(one[labels], labels)), one


def test_the_first_step_of_regun(tiny: Tiny) -> None:
    """Whichever records are drawn say the same here, so only their labels matter."""
    model, f = small(tiny), list(tiny.forget)
    task, one = corners(tiny, torch.arange(HOLDOUT) % CLASSES)
    result, read = unlearned(tiny, model, ReGUn(steps=1, lr=0.1, batch=ALL, alpha=0.3), task=task)
    with torch.no_grad():
        q = torch.stack([model(one[y][None])[0].softmax(0) for y in tiny.y[f].tolist()]).mean(0)
    mine = copy.deepcopy(model)
    log_p = mine(tiny.x[f]).log_softmax(1)
    apart = torch.stack([(q * (q.log() - row)).sum() for row in log_p]).mean()
    stepped(mine, 0.3 * F.cross_entropy(mine(tiny.x[read]), tiny.y[read]) + 0.7 * apart, 0.1)
    assert same(result.model, mine)


def test_a_label_that_no_never_seen_record_has_is_drawn_from_all(tiny: Tiny) -> None:
    model, f = small(tiny), list(tiny.forget)
    task, one = corners(tiny, torch.zeros(HOLDOUT, dtype=torch.int64))
    result, _ = unlearned(tiny, model, ReGUn(steps=1, lr=0.1, batch=ALL, alpha=0.0), task=task)
    with torch.no_grad():
        q = model(one[0][None])[0].softmax(0)
    mine = copy.deepcopy(model)
    stepped(mine, (q * (q.log() - mine(tiny.x[f]).log_softmax(1))).sum(1).mean(), 0.1)
    assert same(result.model, mine)


def test_forget_records_of_one_label_end_as_its_never_seen_records_do(tiny: Tiny) -> None:
    forget = (tiny.y == 1).nonzero().flatten()[:20].tolist()
    result, read = unlearned(tiny, tiny.model, ReGUn(steps=400, lr=0.05, batch=32), forget=forget)
    with torch.no_grad():
        at = torch.from_numpy(result.splits.calibration)
        of_label = at[tiny.holdout_y[at] == 1]
        q = tiny.model(tiny.holdout_x[of_label]).softmax(1).mean(0)
        before, after = (m(tiny.x[forget]).softmax(1) for m in (tiny.model, result.model))
        right = (result.model(tiny.x[read]).argmax(1) == tiny.y[read]).float().mean()
    far, near = ((p - q).abs().sum(1).mean() for p in (before, after))
    assert near < 0.3 * far
    assert right > 0.9
