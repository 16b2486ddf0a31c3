"""Unlearning by several processes that a launcher started together, under Hugging Face `accelerate`."""

from efface.parallel.processes import barrier, collect, device, is_main, launched, on_main, share, start
from efface.parallel.running import audit, unlearn
from efface.parallel.spread import Spread

__all__ = [
    "Spread",
    "audit",
    "barrier",
    "collect",
    "device",
    "is_main",
    "launched",
    "on_main",
    "share",
    "start",
    "unlearn",
]
