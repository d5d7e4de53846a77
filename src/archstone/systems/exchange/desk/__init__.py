"""The desk: what people and their programs do at the exchange, and what they see of it."""

__all__: list[str] = []
