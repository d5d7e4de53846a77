"""The administration: for administrators only, under `/admin`."""

from typing import Final

from archstone.systems.shop.web.pages.admin import figures, orders, stock, users

__all__ = ["PAGES"]

PAGES: Final = (
    ("GET", "/admin", figures.figures),
    ("GET", "/admin/figures.json", figures.figures_now),
    ("GET", "/admin/orders", orders.orders),
    ("GET", "/admin/orders/{order}", orders.order),
    ("POST", "/admin/orders/{order}/refunds", orders.refund),
    ("POST", "/admin/orders/{order}/cancel", orders.cancel),
    ("GET", "/admin/stock", stock.stocks),
    ("GET", "/admin/stock/{sku}", stock.product),
    ("POST", "/admin/stock/{sku}/corrections", stock.correct),
    ("POST", "/admin/stock/{sku}/arrivals", stock.arrive),
    ("GET", "/admin/users", users.users),
    ("POST", "/admin/users/grant", users.grant),
    ("POST", "/admin/users/withdraw", users.withdraw),
)
"""Method, path and handler of each page."""
