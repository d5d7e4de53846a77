"""A trading exchange: a matching engine, and what stands around it."""
