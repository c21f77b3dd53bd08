"""Streams of records as text: JSON lines, JSON, CSV and AJIS (docs/specs/Transfer.md).

Readers take bytes as they come and give records and refusals with their places; writers take
values and give bytes. Both keep no more in memory than one record and what was fed last. Nothing
here knows files, sockets or volumes.
"""

from affs_fuse.formats.columns import Columns, parse_types
from affs_fuse.formats.csv_reader import CsvReader
from affs_fuse.formats.names import file_name
from affs_fuse.formats.reader import (
    TEXT_BYTES_MAX,
    Found,
    Mark,
    Reader,
    Refused,
    broken_input,
)
from affs_fuse.formats.text_readers import ArrayReader, LinesReader, SequenceReader
from affs_fuse.formats.writers import Writer, make_writer

__all__ = [
    "FORMATS",
    "TEXT_BYTES_MAX",
    "ArrayReader",
    "Columns",
    "CsvReader",
    "Found",
    "LinesReader",
    "Mark",
    "Reader",
    "Refused",
    "SequenceReader",
    "Writer",
    "broken_input",
    "file_name",
    "make_reader",
    "make_writer",
    "parse_types",
]

FORMATS = {
    "jsonl": "one value on each line",
    "json": "an Array whose elements are the records, or one value",
    "csv": "a line of names, then a line for each record",
    "ajis": "values one after the other, each on as many lines as it takes",
}


def make_reader(format: str, delimiter: str, types: str) -> Reader:
    """format: one of FORMATS; the rest is for csv. Errors: import.types, import.delimiter."""
    if format == "csv":
        return CsvReader(delimiter, parse_types(types))
    readers: dict[str, type[Reader]] = {
        "jsonl": LinesReader, "json": ArrayReader, "ajis": SequenceReader,
    }  # fmt: skip
    return readers[format]()
