"""Whole systems built from the blocks, by their public names alone. Each has its own folder and its own README."""

__all__: list[str] = []
