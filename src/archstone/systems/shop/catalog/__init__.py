"""What is for sale: products, categories, search, pictures and what is bought together."""

__all__: list[str] = []
