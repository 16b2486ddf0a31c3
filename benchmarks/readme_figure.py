"""The README's figure, from the demo's report: python benchmarks/readme_figure.py demo-run/report.json docs/demo.svg"""

import json
import sys
from pathlib import Path

from efface.auditing.report.plots import distributions


def main(source, target):
    document = json.loads(Path(source).read_text())
    figure = distributions(document["distributions"])
    # readers with a dark page need a ground for dark text
    Path(target).write_text(figure.replace("<svg ", '<svg style="background: white" ', 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
