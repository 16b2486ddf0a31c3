"""The report of one request: a checked JSON document and the same as one self-contained page."""

from efface.auditing.report.document import SCHEMA_VERSION, schema, validate, write

__all__ = ["SCHEMA_VERSION", "schema", "validate", "write"]
