"""The e-commerce shop: eight services, a checkout that survives anything, and a front door. See README.md."""

__all__: list[str] = []
