"""The administration: for administrators only, under `/admin`."""

from typing import Final

from archstone.systems.shop.web.pages.admin import apps, bank, figures, letters, orders, products, sagas, stock, users

__all__ = ["PAGES"]

PAGES: Final = (
    ("GET", "/admin", figures.figures),
    ("GET", "/admin/figures.json", figures.figures_now),
    ("GET", "/admin/orders", orders.orders),
    ("GET", "/admin/orders/{order}", orders.order),
    ("POST", "/admin/orders/{order}/refunds", orders.refund),
    ("POST", "/admin/orders/{order}/refunds/{refund}/retry", orders.retry_refund),
    ("POST", "/admin/orders/{order}/cancel", orders.cancel),
    ("GET", "/admin/sagas", sagas.sagas),
    ("GET", "/admin/sagas/one", sagas.saga),
    ("POST", "/admin/sagas/resume", sagas.resume),
    ("POST", "/admin/sagas/cancel", sagas.cancel),
    ("GET", "/admin/letters", letters.letters),
    ("POST", "/admin/letters/replay", letters.replay),
    ("POST", "/admin/letters/replay-group", letters.replay_group),
    ("POST", "/admin/letters/drop", letters.drop),
    ("GET", "/admin/bank", bank.bank),
    ("POST", "/admin/bank", bank.turn),
    ("GET", "/admin/stock", stock.stocks),
    ("GET", "/admin/stock/{sku}", stock.product),
    ("POST", "/admin/stock/{sku}/corrections", stock.correct),
    ("POST", "/admin/stock/{sku}/arrivals", stock.arrive),
    ("GET", "/admin/products", products.products),
    ("POST", "/admin/products", products.create),
    ("GET", "/admin/products/new", products.new),
    ("GET", "/admin/products/{sku}", products.product),
    ("POST", "/admin/products/{sku}", products.update),
    ("POST", "/admin/products/{sku}/retire", products.retire),
    ("POST", "/admin/products/{sku}/restore", products.restore),
    ("GET", "/admin/users", users.users),
    ("GET", "/admin/users/{user}", users.user),
    ("POST", "/admin/users/{user}/grant", users.grant),
    ("POST", "/admin/users/{user}/withdraw", users.withdraw),
    ("POST", "/admin/users/{user}/close", users.close),
    ("POST", "/admin/users/{user}/open", users.open_again),
    ("GET", "/admin/apps", apps.apps),
    ("POST", "/admin/apps", apps.register),
    ("POST", "/admin/apps/{app}/rotate", apps.rotate),
    ("POST", "/admin/apps/{app}/remove", apps.remove),
)
"""Method, path and handler of each page."""
