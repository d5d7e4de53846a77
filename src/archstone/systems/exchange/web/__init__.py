"""The pages of the exchange, and its stream over WebSocket."""

__all__: list[str] = []
