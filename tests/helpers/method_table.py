"""The contract table: every method, on a scale that takes milliseconds. A new method adds its row."""

SMALL: dict[str, dict[str, str]] = {
    "steer": {"steps": "8", "travel": "3"},
    "perturb": {"steps": "8", "every": "4"},
    "finetune": {"steps": "8", "every": "4"},
    "neggrad_plus": {"steps": "8", "every": "4"},
    "influence": {"rounds": "2", "iterations": "3", "sample": "64"},
    "woodfisher": {"rounds": "2", "sample": "16"},
    "align": {"steps": "8", "every": "4"},
    "align_gan": {"steps": "8", "every": "4"},
    "boundary": {"steps": "8", "every": "4", "batch": "4"},
    "fnn": {"steps": "8", "every": "4"},
    "game": {"steps": "8", "every": "4", "passes": "1"},
    "gradient_ascent": {"steps": "8", "every": "4", "batch": "4"},
    "random_label": {"steps": "8", "every": "4"},
    "salun": {"steps": "8", "every": "4"},
    "bad_teacher": {"steps": "8", "every": "4"},
    "scrub": {"steps": "8", "every": "4"},
    "ssd": {"select": "0.01", "dampen": "0.01", "sample": "64"},
    "l1_sparse": {"steps": "8", "every": "4"},
    "fisher": {"alpha": "1e-4", "sample": "16"},
    "msg": {"steps": "8", "every": "4"},
    "cfk": {"steps": "8", "every": "4"},
    "euk": {"steps": "8", "every": "4"},
    "fcs": {"steps": "8", "every": "4", "rounds": "2"},
    "regun": {"steps": "8", "every": "4"},
    "tmu": {"steps": "8", "every": "4", "passes": "1", "young": "1"},
    "ct": {"steps": "8", "every": "4"},
    "sfron": {"steps": "8", "every": "4", "apart": "2"},
    "delete": {"steps": "8", "every": "4", "batch": "4"},
    "noop": {},
    "retrain": {"epochs": "2"},
}
# methods for records that are parts of a structure
IN_STRUCTURES: dict[str, dict[str, str]] = {
    "gnndelete": {"steps": "8"},
    "utu": {},
    "gif": {"rounds": "2", "iterations": "3", "sample": "64"},
}
CONVOLUTIONAL = ("ct",)  # methods that take networks with convolutions alone
