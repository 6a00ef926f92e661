"""The archive: one Parquet file per site and day, from the merged history, before retention takes that.

`files` knows names and what is there, `parquet` writes and reads one file, `archiver` decides what is due and proves
it, `recall` answers readers, `sql` answers queries. DuckDB is an extra: it is imported when it is first used.
"""
