"""The technical terms of a report, each with one line of explanation."""

from typing import NamedTuple


class Term(NamedTuple):
    """A technical term.

    Args:
        name: The term, as the glossary shows it.
        words: Further words that stand for it in texts.
        definition: One line of explanation.
    """

    name: str
    words: tuple[str, ...]
    definition: str


GLOSSARY = {
    "original": Term(
        "original",
        ("doing nothing",),
        "The model as it was trained. To judge it as if it were the result, which is doing nothing, shows what each "
        "test can see at all.",
    ),
    "unlearned": Term(
        "unlearned",
        (),
        "The model that is judged: the original after the records were made to be forgotten.",
    ),
    "retrained": Term(
        "retrained",
        ("retraining",),
        "A model trained anew on all training records but the requested ones: what forgetting should come to.",
    ),
    "reference": Term(
        "reference model",
        ("reference models", "references"),
        "A model trained for comparison on other records alone; it says how difficult a record is for a model that "
        "never saw it.",
    ),
    "holdout": Term(
        "holdout",
        ("never-seen records", "nonmembers"),
        "Records that were kept out of training, so that they show how a model answers to what it never saw.",
    ),
    "difficulty": Term(
        "equal difficulty",
        ("same difficulty",),
        "Of records on which reference models are right to the same degree; without it, hard records would seem "
        "forgotten and easy ones known.",
    ),
    "level": Term(
        "level",
        (),
        "How much an audit spends. Quick: no further models; standard: a few reference models; strong: ensembles of "
        "retrained models.",
    ),
    "margin": Term(
        "margin",
        (),
        "How sure a model is of a record's label: the logarithm of the odds that it gives to the label.",
    ),
    "auc": Term(
        "conditional AUC",
        ("AUC",),
        "The chance that a requested record scores higher than a never-seen record of equal difficulty: 0.5 where "
        "nothing is left, more where records are still known, less where the model does worse on them than on "
        "never-seen ones.",
    ),
    "effect": Term(
        "effect",
        ("effects",),
        "A conditional AUC less the one that a model has which never saw the records: less 0.5, or less the mean of "
        "two or more retrained models. 0 is no trace.",
    ),
    "d2": Term(
        "excess d2",
        ("d2",),
        "The squared distance between a model's answers and those of retrained models, record by record, less what "
        "chance between trainings makes of it, in units of that chance: 0 for a retrained model. Tests show the share "
        "that is left of doing nothing's.",
    ),
    "interval": Term(
        "interval",
        ("intervals",),
        "The range in which a value lies with the stated confidence, 95 % unless it says otherwise.",
    ),
    "equivalence": Term(
        "equivalence interval",
        (),
        "The 90 % interval of an effect. A test clears a model only if all of this interval lies within what is "
        "allowed (two one-sided tests at 5 %).",
    ),
    "allowed": Term(
        "allowed",
        (),
        "The largest effect that counts as none. It is set before the unlearned model is looked at.",
    ),
    "p": Term(
        "p",
        ("p-values", "p values"),
        "The chance that a model which never saw the records would show as large an effect.",
    ),
    "adjusted": Term(
        "adjusted p",
        ("adjusted",),
        "p, raised for the number of tests, so that all of them together raise a false alarm in at most 5 % of cases.",
    ),
    "holm": Term(
        "Holm's method",
        (),
        "A way to adjust p values that holds however the tests depend on each other.",
    ),
    "maxt": Term(
        "max-T permutation",
        (),
        "A way to adjust p values of tests that depend on each other: which models are called unlearned is drawn "
        "anew, again and again (Westfall and Young).",
    ),
    "bh": Term(
        "Benjamini and Hochberg's method",
        ("Benjamini and Hochberg",),
        "A way to pick out records so that at most 5 % of those picked are expected to be picked wrongly.",
    ),
    "attack": Term(
        "attack",
        ("attacks",),
        "A score that is higher for records that a model was trained on; whoever has the model could use it.",
    ),
    "off_label": Term(
        "off-label",
        (),
        "Of answers that no method changes on purpose, such as those about classes other than the label.",
    ),
    "loss": Term(
        "loss attack",
        (),
        "An attack by how probable the model finds the label, or by how far it is off.",
    ),
    "entropy": Term(
        "entropy attack",
        (),
        "An attack by how sure the model is of its answer as a whole, whatever the label.",
    ),
    "mentropy": Term(
        "modified entropy attack",
        (),
        "An attack by how sure the model is of its answer, and how right.",
    ),
    "confidence": Term(
        "confidence attack",
        (),
        "An attack by how probable the model finds its likeliest answer, whatever the label.",
    ),
    "min_k": Term(
        "Min-K%++",
        (),
        "An attack on sequences by the least likely positions, beside what else the model holds possible there (arXiv "
        "2404.02936).",
    ),
    "zlib": Term(
        "zlib ratio",
        (),
        "An attack on sequences by how probable the model finds them, beside how well they can be compressed (arXiv "
        "2012.07805).",
    ),
    "rmia": Term(
        "RMIA",
        (),
        "An attack by how much more probable the record is under this model than under reference models (arXiv "
        "2312.03262).",
    ),
    "lira": Term(
        "LiRA",
        (),
        "An attack by how far the margin of a record lies above that of reference models (arXiv 2112.03570).",
    ),
    "ulira": Term(
        "U-LiRA",
        (),
        "For each record, how well its answers by many unlearned models are distinguished from those by many "
        "retrained ones (arXiv 2403.01218).",
    ),
    "klom": Term(
        "KLoM",
        (),
        "For each record, how far the spread of its margin over many unlearned models is from that over many "
        "retrained ones (arXiv 2410.23232).",
    ),
    "epsilon": Term(
        "epsilon",
        ("\N{GREEK SMALL LETTER EPSILON}",),
        "A bound on how surely anybody distinguishes two kinds of models: the odds of a right guess are at most e to "
        "the epsilon. 0 is no better than chance.",
    ),
    "probe": Term(
        "last layer fitted afresh",
        (),
        "The last layer is trained anew on the features below it: what shows then was only hidden by the old last "
        "layer.",
    ),
    "copies": Term(
        "slightly perturbed copies",
        (),
        "Copies of the requested records with a little noise: what is known beyond the very record.",
    ),
    "other": Term(
        "other classes",
        ("best other classes", "labels that are least sure", "smallest residual"),
        "The gap between the two likeliest classes other than the label, or what takes its place: the margin does not "
        "determine it.",
    ),
    "roc": Term(
        "ROC",
        ("TPR", "FPR", "true positive rate", "false positive rate"),
        "For each number of false alarms (never-seen records taken for trained ones), the share of requested records "
        "that an attack finds.",
    ),
    "memorised": Term(
        "exact memorisation",
        (),
        "The share of a sequence's positions whose target the model finds likeliest, given all that comes before.",
    ),
    "extracted": Term(
        "extraction strength",
        (),
        "The share of a sequence that the model goes on to give without a mistake, given what comes before (arXiv "
        "2004.15011).",
    ),
    "cka": Term(
        "CKA",
        ("Likeness of features",),
        "How alike two models' inner features of the same records are: 1 if equal up to rotation and scale.",
    ),
    "tow": Term(
        "tug of war",
        (),
        "One score of the accuracies on forget, retain and test records: 1 if all are as those of a retrained model "
        "(arXiv 2406.01257).",
    ),
    "relearning": Term(
        "relearning",
        (),
        "How fast the records are learned again, beside never-seen ones: fast where they were known all along.",
    ),
    "rank": Term(
        "rank",
        ("ranks",),
        "The share of never-seen records of equal difficulty whose margin a record exceeds: near 1 where it is "
        "remembered.",
    ),
    "flagged": Term(
        "flagged",
        (),
        "Of a single record: its score is too high for a never-seen one, also after correction for the number of "
        "records.",
    ),
    "rehearsal": Term(
        "rehearsal",
        ("rehearsed",),
        "The same process, run again on more records of the same kind, which are enough to be tested.",
    ),
    "exchangeable": Term(
        "random sample",
        ("exchangeability",),
        "A request is like one if its records and other training records look the same to the original; only then may "
        "it be compared with never-seen records of all difficulties.",
    ),
    "canaries": Term(
        "canaries",
        ("canary",),
        "Records with random labels that are put into some models and forgotten again, to see who still knows them.",
    ),
    "shadows": Term(
        "shadow models",
        ("shadows",),
        "Models trained for the audit just as the original was.",
    ),
    "record_training": Term(
        "record-training",
        ("record-trainings",),
        "The forward and backward pass of one record; a forward pass alone counts a third. It does not depend on the "
        "machine.",
    ),
    "symlog": Term(
        "symmetric log",
        (),
        "A scale that is a logarithm on either side of 0, so that a few large values do not rule the rest.",
    ),
    "digest": Term(
        "digest",
        ("digests",),
        "A SHA-256 hash: equal for equal content, and it says nothing else about it to whoever cannot guess the "
        "content.",
    ),
}
