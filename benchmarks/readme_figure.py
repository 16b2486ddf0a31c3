"""The README's figure, from the demo's report: python benchmarks/readme_figure.py demo-run/report.json docs/demo.svg"""

import json
import sys
from pathlib import Path

from efface.report.plots import distributions


def main(source, target):
    document = json.loads(Path(source).read_text())
    Path(target).write_text(distributions(document["distributions"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
