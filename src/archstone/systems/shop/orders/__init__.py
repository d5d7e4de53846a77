"""The order, from its placing to its end, and the checkout that carries it there."""

__all__: list[str] = []
