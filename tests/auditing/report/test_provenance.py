"""Digests of record ids."""

from efface.auditing.report.provenance import ids_digest


def test_digests_of_ids() -> None:
    assert ids_digest([1, 2]) == ids_digest([2, 1]) != ids_digest(["1", "2"])
    assert ids_digest(["a", "b"]) != ids_digest(["a", "c"])
    assert ids_digest([12]) != ids_digest([1, 2])
