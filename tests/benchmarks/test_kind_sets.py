"""Data sets whose targets are no classes, read of made-up files."""

import json
import string
from typing import Any

import pytest
import torch

from benchmarks.harness import kind_sets
from benchmarks.harness.kind_sets import IGNORED


def given(monkeypatch: pytest.MonkeyPatch, table: dict[str, list[Any]]) -> None:
    monkeypatch.setattr(kind_sets, "_parquet", lambda name: table)


def test_houses_are_standardised_and_distinct_and_keep_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.rand(40, 8, generator=torch.Generator().manual_seed(0)).double() + 0.1
    rows[7] = rows[3]
    table = {name: rows[:, i].tolist() for i, name in enumerate(kind_sets.HOUSES)}
    given(monkeypatch, {**table, "MedHouseVal": (10 * rows[:, 0]).tolist()})
    data = kind_sets.california.__wrapped__()
    assert data.given == 40 and data.x.shape == (39, 8) and data.y.shape == (39, 1)
    assert data.x.mean(0).abs().max() < 0.2 and (data.x.std(0) - 1).abs().max() < 0.2
    order = data.x[:, 0].argsort()
    assert torch.equal(order, data.y[:, 0].argsort())  # the first number is a tenth of the value


def test_sessions_end_with_half_an_hour_and_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [(1, 100 + i, 10 * i) for i in range(30)]  # a part of 21, and one of 9
    second = [(1, 200 + i, 5000 + i) for i in range(6)]  # more than half an hour later
    short = [(2, 300 + i, 5000 + i) for i in range(4)]
    rows = [*short, *reversed(first), *second]
    given(monkeypatch, dict(zip(("user_id", "movie_id", "timestamp"), map(list, zip(*rows, strict=True)), strict=True)))
    data = kind_sets.sessions.__wrapped__()
    assert data.x.shape == data.y.shape == (3, 20) and data.given == 3
    assert sorted((data.y != IGNORED).sum(1).tolist()) == [5, 8, 20]
    for x, y in zip(data.x, data.y, strict=True):
        counts = int((y != IGNORED).sum())
        assert bool((x[:counts] > 0).all()) and not bool(x[counts:].any())
        assert torch.equal(x[1:counts], y[: counts - 1])
    # films that one user rated once have their codes in the order of their numbers
    longest = data.x[(data.y != IGNORED).sum(1).argmax()]
    assert longest.tolist() == list(range(1, 21))


def test_articles_have_known_words_and_their_commonest_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind_sets, "TOPICS", 2)
    monkeypatch.setattr(kind_sets, "FILES", 2)
    words = list(string.ascii_lowercase[:20])
    articles = [
        {
            "title": "Of " + " ".join(words[(i + k) % 20] for k in range(4)),
            "body": f"{words[(i + 4) % 20]}, {words[(i + 4) % 20]} and {'z' * (i + 1)}",
            "topics": ["earn", "rice"] if i % 3 == 0 else ["earn"],
        }
        for i in range(60)
    ]
    without = [
        {"title": "of no topic"},
        {"topics": ["tin"], "title": "a rare one"},
        {"topics": ["earn"], "title": "zz"},
    ]
    articles += without
    files = [json.dumps(articles[:30]).encode(), json.dumps(articles[30:]).encode()]
    monkeypatch.setattr(kind_sets, "members", lambda name, paths: files[: len(paths)])
    data = kind_sets.reuters.__wrapped__()
    assert data.x.shape[1] == 150 and data.y.shape[1] == 2
    assert data.given == 60 and bool(((data.x > 0).sum(1) >= 5).all())
    assert bool(data.y[:, 0].all()) and 0 < float(data.y[:, 1].mean()) < 1
    assert len(torch.unique(data.x, dim=0)) == len(data.x) == 20  # "and", "of" and rare words are not known


def test_pieces_of_text_are_letters_and_those_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    long = ("The quick, brown fox; " * 6).strip()
    text = "\n".join(["head", "", "", f"group\t{long}", "group\ttoo short", f"other\t{'Zebra ' * 40}"])
    monkeypatch.setattr(kind_sets, "member", lambda name, path: text.encode())
    data = kind_sets.letters.__wrapped__()
    assert data.given == 4 and data.x.shape == data.y.shape == (2, 64)  # both parts are the same here
    assert torch.equal(data.x[:, 1:], data.y[:, :-1]) and int(data.x.min()) == 0 and int(data.x.max()) == 26

    def said(codes: torch.Tensor) -> str:
        return "".join(" abcdefghijklmnopqrstuvwxyz"[c] for c in codes.tolist())

    read = sorted(said(x) for x in data.x)
    assert read[0] in "the quick brown fox " * 6 or read[1] in "the quick brown fox " * 6
    assert any(one in "zebra " * 40 for one in read)
