"""The e-mails that tell a customer what became of an order."""

__all__: list[str] = []
