"""What somebody means to buy: a cart per customer, and carts of guests who have not signed in."""

__all__: list[str] = []
