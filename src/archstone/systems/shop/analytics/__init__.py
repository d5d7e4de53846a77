"""What the shop's owner wants to know, counted from events alone."""

__all__: list[str] = []
