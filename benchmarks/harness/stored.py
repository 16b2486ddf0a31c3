"""Results where they lie: a folder of JSON files that a run wrote, or a committed table.

A suite's table is `results/<suite>.csv`, one row a cell with its columns as in `records`, beside `<suite>.json`, which
says on what code and machines its rows were made (column `made`). `tunings.csv` holds every draw of all suites.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.records import CELL, ON, SETTING, VERSIONS, Record, flatten
from efface.errors import RequestError

TUNING = "-tuning.json"
TUNINGS = "tunings.csv"
TABLE = ".csv"
TEXT = {"suite", "torch", "problem", "request", "method", "variant", "failed"}  # all other columns are JSON
REQUIRED = (*SETTING, *CELL, "forget", "epochs", "early", "failed", "tuning_cpu_s")
TUNED = ("evidence", *VERSIONS, "tuning_version", "limit_s")
TRIED = ("options", "score", "forget", "retain", "cpu_s", "failed")


def has_results(place: Path) -> bool:
    """Whether there is a cell's result in the folder or the table, which may be absent."""
    return place.is_file() if place.suffix == TABLE else any(True for _ in _cell_files(place))


def read_records(*places: Path) -> list[Record]:
    """Records of all cells in folders and tables, in the order in which they are found.

    Raises:
        RequestError: everything that is wrong: a place that is absent or has no results, a damaged file.
    """
    problems: list[str] = []
    found: list[Record] = []
    for place in places:
        if place.suffix == TABLE:
            found += _parsed(problems, place, read_table) or []
            continue
        files = list(_cell_files(place))
        if not files:
            problems.append(f"{place}: no results in it" if place.is_dir() else f"{place}: there is no such folder")
        records = [_parsed(problems, file, lambda f: flatten(read_json(f))) for file in files]
        found += [record for record in records if record is not None]
    if problems:
        raise RequestError(problems)
    return found


def read_tuning_results(place: Path) -> list[dict[str, Any]]:
    """What tunings found, as the runner writes it: those in a folder, or those of the suite of a committed table.

    Raises:
        RequestError: a file is damaged.
    """
    problems: list[str] = []
    if place.suffix == TABLE:
        beside = place.with_name(TUNINGS)
        found = _parsed(problems, beside, lambda f: read_tunings_table(f, place.stem)) if beside.is_file() else []
    else:
        found = [_parsed(problems, file, _read_tuning) for file in sorted(place.glob(f"*{TUNING}"))]
    if problems:
        raise RequestError(problems)
    return list(found or [])


def read_json(file: Path) -> Any:
    """The JSON of a file."""
    return json.loads(file.read_text(encoding="utf-8"))


def read_table(file: Path) -> list[Record]:
    """Records of a committed table, with what each was made on."""
    made = read_json(file.with_suffix(".json"))["made"]
    records = _read_csv(file)
    for record in records:
        record |= {key: made[record["made"]][key] for key in ON}
        del record["made"]
        for key in REQUIRED:
            record[key]
    return records


def table_text(records: Sequence[Record], title: str) -> tuple[str, str]:
    """The texts of a table and of the provenance beside it."""
    made: list[Any] = []
    rows = []
    for record in records:
        on = {key: record[key] for key in ON}
        if on not in made:
            made.append(on)
        rows.append({**{k: v for k, v in record.items() if k not in ON}, "made": made.index(on)})
    counts = [sum(row["made"] == i for row in rows) for i in range(len(made))]
    beside = {"title": title, "made": [{"cells": n, **on} for n, on in zip(counts, made, strict=True)]}
    others = {key for row in rows for key, value in row.items() if value is not None} - {*REQUIRED, "made"}
    return csv_text(rows, [*REQUIRED, "made", *sorted(others)]), json.dumps(beside, indent=1) + "\n"


def read_tunings_table(file: Path, suite: str | None = None) -> list[dict[str, Any]]:
    """What tunings found, of one suite or of all, as the runner writes it and with the suite's name."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in _read_csv(file):
        if suite not in (None, row["suite"]):
            continue
        setting = {key: row.pop(key) for key in SETTING}
        name, method = row.pop("suite"), row.pop("method")
        tuning = found.setdefault(
            (name, method, *setting.values()),
            {
                "suite": name,
                "tuned": {"setting": setting, "method": method},
                **{key: row[key] for key in TUNED},
                "versions": {"torch": row["torch"]},
                "tried": [],
                "cpu_s": 0.0,
            },
        )
        tried = {key: row[key] for key in TRIED if row[key] is not None}
        tuning["tried"].append(tried)
        tuning["cpu_s"] += tried["cpu_s"] * setting["originals"]
        if row["chosen"]:
            tuning["best"] = row["options"]
    return list(found.values())


def tunings_text(tunings: Iterable[Mapping[str, Any]]) -> str:
    """The text of the table of tunings: a row a draw."""
    rows = []
    for tuning in tunings:
        tuned, best = tuning["tuned"], tuning["best"]
        start = {"suite": tuning["suite"], **tuned["setting"], "method": tuned["method"]}
        start |= {**{key: tuning[key] for key in TUNED}, "torch": tuning["versions"]["torch"]}
        for tried in tuning["tried"]:
            chosen = tried["options"] == best
            rows.append({**start, "chosen": chosen, **{key: tried.get(key) for key in TRIED}})
    return csv_text(rows, ["suite", *SETTING, "method", *TUNED, "torch", "chosen", *TRIED])


def csv_text(rows: Sequence[Record], columns: Sequence[str]) -> str:
    """Those columns of rows as CSV; nothing for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell_text(key, row.get(key)) for key in columns] for row in rows)
    return text.getvalue()


def _cell_text(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in TEXT:
        return str(value)
    return json.dumps(value)


def _read_csv(file: Path) -> list[Record]:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, strict=True))
    return [{key: _value(key, text) for key, text in row.items()} for row in rows]


def _value(column: str, text: str) -> Any:
    if text == "":
        return None
    return text if column in TEXT else json.loads(text)


def _read_tuning(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(file)
    for key in ("tuned", "tried", "best", "cpu_s"):
        found[key]
    return found


def _cell_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.glob("*.json")) if not file.name.endswith(TUNING))


def _parsed(problems: list[str], file: Path, parse: Callable[[Path], Any]) -> Any:
    try:
        return parse(file)
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
    except (ValueError, csv.Error) as error:  # no JSON, no UTF-8, or no number
        problems.append(f"{file}: damaged: {' '.join(str(error).split())}; delete it and run its suite again")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        problems.append(f"{file}: is no result of the benchmark ({what}); delete it and run its suite again")
    return None
