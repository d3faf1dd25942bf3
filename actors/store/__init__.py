"""Run directories, records and storage, on a disk or an object store."""
