"""The folder of quality control: names of its files and columns."""

from cytovae.quality.check import REASONS

INDEX = "qc.csv"
EVENTS_SUFFIX, PICTURE_SUFFIX = ".qc.parquet", ".qc.png"
EVENT, PASSES, REASON = "event", "pass", "reason"
FILE, PART, CHECKSUM, TABLE, EVENTS = "file", "part", "sha256", "table", "events"
COLUMNS = (FILE, PART, CHECKSUM, TABLE, EVENTS, "failed", "percent_failed", *REASONS, "not_done", "warnings")
