"""The query language over the fleet's last state: docs/query.md says what it means."""

from rmm.core.query.compiled import Column, Query, compile_query
from rmm.core.query.schema import ENDPOINT, Kind, Schema, schema_of
from rmm.core.query.truth import Part, Row

__all__ = ["ENDPOINT", "Column", "Kind", "Part", "Query", "Row", "Schema", "compile_query", "schema_of"]
