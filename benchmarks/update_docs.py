"""Fill the blocks of README.md and docs/*.md from benchmarks/results: python benchmarks/update_docs.py"""

import sys
from pathlib import Path

from efface.bench.docs import update
from efface.errors import RequestError

if __name__ == "__main__":
    try:
        for path in update(Path(__file__).resolve().parent.parent):
            print(f"wrote {path}")
    except RequestError as error:
        sys.exit(f"update_docs: {error}")
