"""Money: charges, refunds and invoices, over a provider that can be exchanged."""

__all__: list[str] = []
