"""Where revocations are kept for all processes: one file per kind of store."""
