"""`python -m benchmarks.graphs`: run settings, and show the committed results as tables."""

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands import ROOT
from benchmarks.graphs.tables import BLOCK, fill, render
from efface.cli.failures import CommandGroup, guarded
from efface.errors import RequestError
from efface.runtime.options import nearest

RESULTS, CACHE = ROOT / "benchmarks" / "results" / "graphs", ROOT / ".cache" / "graphs"
PAGE = ROOT / "docs" / "structures.md"
MODELS = (8, 10)  # originals and retrained models

app = typer.Typer(
    cls=CommandGroup,
    help="Deletion of nodes, edges and features from graph networks, against models retrained without them. "
    "Needs torch_geometric.",
    epilog="Example:\n\npython -m benchmarks.graphs run cora-gcn-edges\n\npython -m benchmarks.graphs docs",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog="Example:\n\npython -m benchmarks.graphs run cora-gcn-edges --method steer --method utu")
def run(
    settings: Annotated[
        list[str], typer.Argument(metavar="SETTING", help="Such as cora-gcn-edges or cora-sage-nodes.")
    ],
    method: Annotated[list[str] | None, typer.Option(help="Only this; may be given several times.")] = None,
    originals: Annotated[int, typer.Option(min=1, help="Networks that each method unlearns.")] = MODELS[0],
    retrained: Annotated[int, typer.Option(min=4, help="Networks trained without the request.")] = MODELS[1],
    cache: Annotated[Path, typer.Option(help="Keeps trained networks.")] = CACHE,
    results: Annotated[Path, typer.Option(help="Where rows go, one file each.")] = RESULTS,
) -> None:
    """Train networks, run methods, and write one JSON file for each method; files that are there stay."""
    with guarded(False):
        from benchmarks.graphs.measure import METHODS, NOTHING, RETRAINED, Judge, as_json, measure
        from benchmarks.graphs.models import trained
        from benchmarks.graphs.networks import LAYERS
        from benchmarks.graphs.settings import DATA, Setting

        known = [f"{d}-{n}-{r}" for d in DATA for n in LAYERS for r in ("edges", "link-nodes", "nodes", "features")]
        if odd := [name for name in settings if name not in known]:
            raise RequestError(f"there is no setting {odd[0]!r} ({nearest(odd[0], known)})")
        wanted = [NOTHING, RETRAINED, *METHODS] if method is None else method
        if odd := [name for name in wanted if name not in (NOTHING, RETRAINED, *METHODS)]:
            raise RequestError(f"there is no method {odd[0]!r} ({nearest(odd[0], [NOTHING, RETRAINED, *METHODS])})")
        results.mkdir(parents=True, exist_ok=True)
        warnings.simplefilter("ignore")
        for name in settings:
            setting = Setting(*name.split("-", 2))
            networks = [trained(setting, "original", originals, cache), trained(setting, "retrained", retrained, cache)]
            judge = Judge(setting)
            for one in wanted:
                file = results / f"{name}-{one.replace(', ', '-').replace(' ', '-')}.json"
                if file.exists():
                    continue
                row = measure(judge, *networks, one)
                file.write_text(json.dumps(as_json(row), indent=1) + "\n")
                typer.echo(f"Wrote {file}")


@app.command(epilog="Example:\n\npython -m benchmarks.graphs docs")
def docs(
    results: Annotated[Path, typer.Option(help="The committed rows.")] = RESULTS,
    page: Annotated[Path, typer.Option(help="The page with the block to fill.")] = PAGE,
) -> None:
    """Fill the block of tables in docs/structures.md from the committed rows."""
    with guarded(False):
        text = page.read_text(encoding="utf-8")
        if BLOCK[0] not in text:
            raise RequestError(f"{page}: has no line {BLOCK[0]!r}")
        page.write_text(fill(text, render(results)), encoding="utf-8")
        typer.echo(f"Wrote {page}")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.graphs")
