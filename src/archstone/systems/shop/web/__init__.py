"""The pages of the shop: HTML that works without a script, and with one tells of an order as it goes along."""

__all__: list[str] = []
