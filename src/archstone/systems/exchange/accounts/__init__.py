"""Who may come to the exchange, and how they prove who they are."""

__all__: list[str] = []
