"""Training data: files of many forms to rows, rows to datums."""
