"""Parcels and how far they have come."""

__all__: list[str] = []
