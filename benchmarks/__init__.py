"""efface's benchmark, run from a checkout: `python -m benchmarks`. It is no part of the installed package."""
