"""Engines of `archstone.data`, one per kind of database. The scheme of a URL finds them; nobody imports them."""
