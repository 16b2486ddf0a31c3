"""The report of an audit: a checked JSON document, and a self-contained page with the same content."""

from efface.auditing.report.document import SCHEMA_VERSION, schema, validate, write

__all__ = ["SCHEMA_VERSION", "schema", "validate", "write"]
