"""Catalogues of others: from a CSV or JSON file to products, with every bad row told by its line."""

__all__: list[str] = []
