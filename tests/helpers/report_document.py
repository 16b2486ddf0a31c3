"""Report documents written by hand, for the tests of whatever reads one."""

import copy
from typing import Any

import numpy as np

Document = dict[str, Any]
NOT_MEASURED = {"state": "not_measured", "estimate": None, "why": "no retrained model was made"}
AUC_UNIT = "AUC less that of a model that never saw it"
SHARE_UNIT = "share left of doing nothing's distance"


def estimate(value: float, half: float = 0.04, level: float = 0.95) -> Document:
    """A value with an interval of `half` to either side."""
    return {"value": value, "low": value - half, "high": value + half, "level": level}


def measured(value: float) -> Document:
    """A reading that could be had."""
    return {"state": "measured", "estimate": estimate(value), "why": ""}


def phase(cpu_s: float) -> Document:
    """The cost of a phase."""
    return {"wall_s": cpu_s / 2, "cpu_s": cpu_s, "forward": 12000, "backward": 6000, "record_trainings": 8000.0}


def metric(key: str, title: str, records: str, kind: str, values: tuple[float, float, float]) -> Document:
    """A row of the metrics, of the original, unlearned and retrained models."""
    readings = dict(zip(("original", "unlearned", "retrained"), map(measured, values), strict=True))
    return {"key": key, "title": title, "records": records, "kind": kind, "decisive": kind == "attack", **readings}


def test(
    title: str, kind: str, values: tuple[float, float, float], outcome: str, why: str = "", p: float = 0.31
) -> Document:
    """A test that decides the verdict, of the original, unlearned and retrained models."""
    original, unlearned, retrained = values
    return {
        "key": title.lower().replace(" ", "_"),
        "title": title,
        "kind": kind,
        "unit": SHARE_UNIT if kind == "distance" else AUC_UNIT,
        "of_model": True,
        "original": estimate(original),
        "unlearned": estimate(unlearned, 0.07, 0.9917),
        "retrained": estimate(retrained, 0.05),
        "equivalence_interval": estimate(unlearned, 0.045, 0.9),
        "margin": 0.25 if kind == "distance" else 0.1,
        "p_value": p,
        "p_adjusted": min(1.0, 4 * p),
        "outcome": outcome,
        "why": why,
    }


def record(index: int, **changes: Any) -> Document:
    """One ranked record, withheld and unremarkable unless `changes` say otherwise."""
    return {
        "id": None,
        "record": f"{index:08x}",
        "position": None,
        "label": index % 3,
        "description": None,
        "kind": "other",
        "rank_original": 0.97,
        "rank_unlearned": 0.5,
        "rank_retrained": 0.5,
        "margin_original": 6.1,
        "margin_unlearned": 2.2,
        "margin_retrained": 2.0,
        "gap_original": 3.0,
        "gap_unlearned": None,
        "p_unlearned": 0.4,
        "flagged": False,
    } | changes


def look(key: str, title: str, records: list[tuple[Any, ...]], why: str = "") -> Document:
    """A look at single requested records."""
    names = ("record", "original", "unlearned", "retrained", "could_see")
    shown = [{**dict(zip(names, r, strict=True)), "sentence": f"{title}: as said"} for r in records]
    return {"key": key, "title": title, "why": why, "others": 50 if records else 0, "records": shown}


def curve(positives: Any, negatives: Any) -> Document:
    """The ROC curve of scores of forget records against those of nonmembers."""
    cuts = np.sort(np.concatenate([positives, negatives]))[::-1]
    found = (np.asarray(positives)[:, None] >= cuts).mean(0)
    taken = (np.asarray(negatives)[:, None] >= cuts).mean(0)
    return {"fpr": [0.0, *taken.tolist()], "tpr": [0.0, *found.tolist()]}


def example() -> Document:
    """A small whole report: every part is there, ids are withheld."""
    uninformative = {"state": "uninformative", "estimate": estimate(0.51), "why": "the original passes it too"}
    inapplicable = {"state": "not_applicable", "estimate": None, "why": "the model has no features to compare"}
    distances = metric("l2", "Distance of weights", "all", "distance", (0.0, 1.73, 9.8))
    forget = {"original": [5.0, 6.0, 7.5], "unlearned": [1.5, 2.0, 2.5], "retrained": [1.4, 2.2, 2.6]}
    holdout = {"original": [1, 2, 3, 2.5], "unlearned": [1.1, 2.1, 3, 2.4], "retrained": [1, 2.2, 2.9, 2.5]}
    return {
        "schema_version": 8,
        "created": "2026-11-24T10:00:00Z",
        "title": "Forget 3 of 5,000 records",
        "versions": {"efface": "0.1.0", "torch": "2.13.0"},
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "device": "cpu",
        "threads": 1,
        "seed": 7,
        "level": "standard",
        "request": {
            "kind": "records",
            "count": 3,
            "ids_digest": "sha256:" + "a" * 64,
            "training_records": 5000,
            "holdout_records": 1000,
            "holdout_used_for": "a third each for calibration, stopping and the audit",
            "twins": {"policy": "keep", "forgotten": 0, "kept": 2, "holdout": 5, "test": 0},
            "groups": None,
            "kinds": {"wrongly labelled": 1, "other": 2},
        },
        "outputs": {
            "kind": "classes",
            "options": {},
            "title": "one of several classes",
            "margin": "How sure a model is of a record's label: the logarithm of the odds that it gives to the label.",
            "utility": "accuracy",
            "utility_is_share": True,
        },
        "method": {"key": "noisy", "version": 1, "options": {"lr": 0.01, "clip": None}, "source": "built in"},
        "judge_version": 1,
        "weights": {"original": "sha256:" + "b" * 64, "unlearned": "sha256:" + "c" * 64},
        "uses": [
            {
                "who": "method: reference model",
                "what": "training records",
                "records": 2000,
                "digest": "sha256:" + "d" * 64,
            },
            {"who": "audit: nonmembers", "what": "holdout records", "records": 334, "digest": "sha256:" + "e" * 64},
        ],
        "models": [
            {"what": "original", "digest": "sha256:" + "b" * 64, "trained_on": "all training records"},
            {"what": "audit: reference model 1", "digest": None, "trained_on": "2,000 retain records"},
        ],
        "cost": {
            "unlearn": {"phases": {"perturb": phase(5.5), "stop checks": phase(2.4)}, "total": phase(7.9)},
            "audit": {"phases": {"scores": phase(3.1)}, "total": phase(3.1)},
            "retrain": {"models": 3, "cpu_s_each": 310.0, "wall_s_each": 170.0},
            "ratio_cpu": 0.0255,
        },
        "evidence": {
            "outcome": "looks_unseen",
            "reason": "the interval 0.49 to 0.53 lies within 0.05 of 0.5",
            "chosen_step": 40,
            "target": 0.5,
            "margin": 0.05,
            "planned_evaluations": 6,
            "evaluations": [
                {
                    "step": step,
                    "auc": estimate(auc),
                    "holdout_accuracy": 0.8,
                    "accuracy_change": estimate(0.0),
                    "forget_accuracy": 0.9,
                    "loss": 0.4,
                }
                for step, auc in ((10, 0.8), (20, 0.66), (30, 0.55), (40, 0.51))
            ],
        },
        "exchangeable": {
            "is_exchangeable": True,
            "p": 0.42,
            "tests": [{"title": "Share of each class", "p": 0.42}, {"title": "Difficulty", "p": 0.63}],
        },
        "correction": (
            "Detection: the p-values of the four tests are adjusted by Holm's method, 5 % over all of them. "
            "Records: Benjamini and Hochberg, at a false discovery rate of 5 %."
        ),
        "tests": [
            test("Loss attack at equal difficulty", "attack", (0.31, 0.01, 0.0), "cleared"),
            test("RMIA, offline", "attack", (0.36, 0.14, 0.01), "left", "the detection interval excludes 0", 0.0006),
            test("Gap between the two best other classes", "off_label", (0.22, -0.05, 0.0), "open"),
            test("Margin on slightly perturbed copies", "off_label", (0.03, 0.0, 0.01), "uninformative"),
            test("Distance to retrained, margin", "distance", (1.0, 0.12, 0.0), "cleared"),
        ],
        "roc": {
            "statistic": "RMIA, offline",
            "negatives": 4,
            "positives": 3,
            "models": {who: curve(forget[who], holdout[who]) for who in ("original", "unlearned", "retrained")},
        },
        "canaries": {
            "records": 40,
            "shadows": 40,
            "guesses": 30,
            "right": 16,
            "epsilon_low": 0.0,
            "level": 0.95,
            "original_right": 29,
            "original_epsilon_low": 1.92,
        },
        "single_records": [
            look("lira", "Margin", [(0, 0.98, 0.41, 0.45, 0.31), (1, 0.7, 0.5, None, 0.06)]),
            look("relearning", "Steps to learn it again", [], why="needs 19 never-seen records"),
        ],
        "rehearsal": {
            "records": 200,
            "runs": 6,
            "process": "verified",
            "doing_nothing_fails": True,
            "no_trace": False,
            "alone": 1,
            "tests": [
                test("LiRA, offline", "attack", (0.19, 0.01, 0.0), "cleared", "effect within the margin"),
                test("Entropy attack", "attack", (0.02, 0.0, 0.0), "uninformative", "doing nothing shows too little"),
            ],
            "standings": [
                {
                    "title": "among the rehearsed records",
                    "p": 0.4,
                    "least": 0.2,
                    "others": 200,
                    "stands_out": False,
                    "seen_one": 0.3,
                    "seen_all": 0.9,
                }
            ],
            "agreement": {"p": 0.5, "shift": -0.1, "spread": 0.2, "holds": True},
        },
        "ensembles": {
            "unlearned": 8,
            "retrained": 8,
            "originals": 8,
            "cpu_s": 5400.0,
            "found": 16,
            "method": {"key": "steer", "options": {"steps": 80}},
        },
        "metrics": [
            metric("holdout_accuracy", "Held-out accuracy", "all", "utility", (0.83, 0.82, 0.82)),
            metric("auc", "Conditional AUC", "forget: wrongly labelled", "attack", (0.81, 0.51, 0.5)),
            {
                **metric("perturbed", "Off-label margin", "all", "off_label", (0.5, 0.5, 0.5)),
                "unlearned": uninformative,
            },
            {**distances, "retrained": NOT_MEASURED},
            {**metric("cka", "Likeness of features", "all", "features", (0.9, 0.9, 0.9)), "original": inapplicable},
            metric("ulira", "Record by record", "all", "ensemble", (0.93, 0.52, 0.5)),
        ],
        "records": [
            record(0, rank_unlearned=0.0, p_unlearned=None),
            record(1, rank_unlearned=0.25),
            record(2, rank_unlearned=0.99, p_unlearned=0.0012, flagged=True),
        ],
        "distributions": {
            "statistic": "margin",
            **{who: {"forget": forget[who], "holdout": list(map(float, holdout[who]))} for who in forget},
        },
        "verdict": {
            "status": "not_verified",
            "sentence": (
                "By one of four informative tests, the offline RMIA attack, the unlearned model still knows more of "
                "these 3 records than a model that never saw them."
            ),
            "reasons": ["RMIA, offline: 0.140 is left, more than the margin of 0.100", "accuracy did not fall"],
            "smallest_effect": 0.08,
            "next": ["try another method or seed: method=... (--method)"],
        },
        "notes": ["trained on one core"],
    }


def bare(document: Document) -> Document:
    """The same report with every nullable part null and every list empty."""
    empty: Document = {"forget": [], "holdout": []}
    audit = document["cost"]["audit"]
    return {
        **document,
        "git": None,
        "method": None,
        "uses": [],
        "models": [],
        "evidence": None,
        "cost": {"unlearn": None, "audit": {**audit, "phases": {}}, "retrain": None, "ratio_cpu": None},
        "exchangeable": None,
        "correction": "",
        "tests": [],
        "roc": None,
        "canaries": None,
        "ensembles": None,
        "rehearsal": None,
        "single_records": [],
        "metrics": [],
        "records": [],
        "distributions": {"statistic": "margin", "original": empty, "unlearned": empty, "retrained": None},
        "verdict": {
            "status": "undecided",
            "sentence": "No test could be made, so nothing is known of what the unlearned model still holds.",
            "reasons": [],
            "smallest_effect": None,
            "next": [],
        },
        "notes": [],
        "versions": {},
    }


def only(document: Document, *parts: str) -> Document:
    """The bare report with only some of its parts: figures that no test reads take time."""
    return {**bare(document), **{name: document[name] for name in parts}}


def without_retrained(document: Document) -> Document:
    """The same report where no model was retrained."""
    changed = copy.deepcopy(document)
    changed["distributions"]["retrained"] = None
    changed["cost"].update(retrain=None, ratio_cpu=None)
    changed["roc"]["models"]["retrained"] = None
    for item in changed["metrics"]:
        item["retrained"] = NOT_MEASURED
    for test in changed["tests"]:
        test["retrained"] = None
    for row in changed["records"]:
        row.update(rank_retrained=None, margin_retrained=None)
    return changed


def large(count: int = 1000, seed: int = 5) -> Document:
    """A report of many records with ids, as an audit of that size would write it."""
    rng = np.random.default_rng(seed)
    document = example()
    means = {"original": 6.5, "unlearned": 2.4, "retrained": 2.1}
    forget = {who: rng.normal(mean, 1.6, count) for who, mean in means.items()}
    holdout = {who: rng.normal(2.1, 1.9, count) for who in means}
    ranks = {who: (holdout[who][None, :] < forget[who][:, None]).mean(1) for who in means}
    document["title"] = f"Forget {count:,} of 50,000 records"
    document["request"].update(count=count, training_records=50_000, holdout_records=3 * count)
    document["distributions"] = {
        "statistic": "margin (log-odds of the label)",
        **{who: {"forget": forget[who].tolist(), "holdout": holdout[who].tolist()} for who in means},
    }
    document["tests"][1] = test("RMIA, offline", "attack", (0.36, 0.01, 0.01), "cleared")
    document["tests"][2] = test("Gap between the two best other classes", "off_label", (0.22, -0.02, 0.0), "cleared")
    document["verdict"] = {
        "status": "verified",
        "sentence": (
            f"Within a margin of 0.10, by four informative tests of {count:,} records, the unlearned model is like one "
            "that never saw them."
        ),
        "reasons": ["every decisive test was cleared", "held-out accuracy fell by 1.0 points at most"],
        "smallest_effect": 0.031,
        "next": [],
    }
    document["roc"].update(negatives=count, positives=count)
    document["roc"]["models"] = {who: curve(forget[who], holdout[who]) for who in means}
    document["records"] = [
        record(
            i,
            id=f"customer-{i:05d}",
            kind="wrongly labelled" if i % 5 == 0 else "other",
            **{f"rank_{who}": float(ranks[who][i]) for who in means},
            **{f"margin_{who}": float(forget[who][i]) for who in means},
            gap_unlearned=float(rng.normal()),
            p_unlearned=float(1 - ranks["unlearned"][i] + 1 / (count + 1)) / (1 + 1 / (count + 1)),
            flagged=bool(ranks["unlearned"][i] > 0.999),
        )
        for i in range(count)
    ]
    return document
