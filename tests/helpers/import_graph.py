"""The rooms of the package and who imports whom: `python tests/helpers/import_graph.py [FOLDER]` prints its size.

A room is a module or a folder directly below the package.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

Parts = tuple[str, ...]


def modules(source: Path) -> list[Parts]:
    """Dotted parts of every module below `source`, without the package's own name."""
    return sorted(path.relative_to(source).with_suffix("").parts for path in source.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[Parts]:
    """Dotted parts below `efface` of everything imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: a relative import")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "efface":
                yield tuple(rest)


@cache
def imports_of(source: Path, module: Parts) -> list[Parts]:
    """What one module imports from the package."""
    return list(imported(ast.parse(source.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8"))))


@cache
def room_graph(source: Path) -> dict[str, set[str]]:
    """The rooms that each room imports from; a name of the package itself counts as the room `__init__`."""
    rooms = {module[0] for module in modules(source)}
    graph: dict[str, set[str]] = {room: set() for room in rooms}
    for module in modules(source):
        for parts in imports_of(source, module):
            room = parts[0] if parts and parts[0] in rooms else "__init__"
            graph[module[0]] |= {room} - {module[0]}
    return graph


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """How high each room stands: 0 where it imports from no other, else one above the highest that it imports from.

    Raises graphlib.CycleError where rooms import each other in a circle.
    """
    height: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        height[room] = 1 + max((height[below] for below in graph[room]), default=-1)
    return height


def main(source: Path) -> None:
    """Print the size of a package's graph."""
    graph = room_graph(source)
    arrows = sum(map(len, graph.values()))
    print(
        f"{len(graph)} rooms, {arrows} arrows, {1 + max(floors(graph).values())} floors, {len(modules(source))} modules"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "src/efface")
