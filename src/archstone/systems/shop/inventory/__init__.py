"""How much of it there is, and for whom some is held."""

__all__: list[str] = []
