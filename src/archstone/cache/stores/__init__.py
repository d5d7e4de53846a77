"""Where caches keep entries: in memory, on Redis or Valkey, in a database, and tiers of these."""
