"""What the shop promises to others is committed, and a change that breaks somebody is named."""

from archstone.services import check_contracts
from archstone.systems.shop.system import shop

PUBLIC = {
    ("POST", "/users", 201),
    ("POST", "/sessions", 200),
    ("GET", "/users/me", 200),
    ("GET", "/products", 200),
    ("GET", "/products/{sku}", 200),
    ("GET", "/products/{sku}/recommendations", 200),
    ("GET", "/stock/{sku}", 200),
    ("POST", "/orders", 202),
    ("GET", "/orders/{order_id}", 200),
    ("GET", "/users/{user_id}/orders", 200),
    ("POST", "/orders/{order_id}/cancel", 202),
    ("GET", "/analytics/summary", 200),
    ("GET", "/analytics/minutes", 200),
    ("GET", "/users/me/orders", 200),
    ("GET", "/stock", 200),
    ("POST", "/stock/{sku}/corrections", 201),
    ("GET", "/stock/{sku}/corrections", 200),
    ("GET", "/products/{sku}/edition", 200),
    ("GET", "/products/{sku}/changes", 200),
    ("GET", "/retired-products", 200),
    ("POST", "/products", 201),
    ("PUT", "/products/{sku}", 200),
    ("PUT", "/products/{sku}/retirement", 200),
    ("GET", "/users", 200),
    ("GET", "/users/{user_id}", 200),
    ("GET", "/users/{user_id}/changes", 200),
    ("POST", "/users/{user_id}/deactivation", 200),
    ("DELETE", "/users/{user_id}/deactivation", 200),
    ("GET", "/orders", 200),
    ("GET", "/orders/{order_id}/dossier", 200),
    ("POST", "/orders/{order_id}/refunds", 202),
}


def test_the_contracts_are_those_of_the_committed_snapshot() -> None:
    check_contracts(shop)


def test_the_routes_that_others_rely_on_are_public() -> None:
    assert {(each.method, each.path, each.status) for each in shop.operations if each.public} >= PUBLIC


def test_what_moves_goods_money_and_parcels_is_for_services_alone() -> None:
    inner = {each.full_name for each in shop.operations if each.requires == "service"}
    assert inner >= {
        "Inventory.reserve", "Inventory.commit", "Inventory.release", "Payments.charge", "Payments.refund",
        "Payments.refund_part", "Shipping.create", "Shipping.cancel", "UserRead.contact",
    }  # fmt: skip
    assert not any(each.public for each in shop.operations if each.requires == "service")


def test_only_placing_an_order_needs_a_key_from_outside_and_bookings_of_goods() -> None:
    needed = {each.full_name for each in shop.operations if each.public and each.key_required}
    assert needed == {
        "Orders.place",
        "Inventory.restock",
        "StockAdmin.correct",
        "OrderAdmin.refund",
        "CatalogAdmin.create",
    }


def test_answers_with_secrets_are_not_kept() -> None:
    unkept = {each.full_name for each in shop.operations if each.public and each.kind == "command" and not each.record}
    by_state = {"Carts.put", "Carts.clear", "Carts.merge"}  # no secrets: they say how things shall be
    assert unkept - by_state == {
        "Sessions.login", "Sessions.refresh", "Sessions.logout", "UserWrite.register", "Carts.open",
        "UserWrite.change_password",
        "UserWrite.delete_account", "Sessions.confirm", "Factors.prove", "Factors.offer_totp", "Factors.add_totp",
        "Factors.remove_totp", "Factors.renew_codes", "Factors.ask_new_passkey", "Factors.add_passkey",
        "Factors.remove_passkey", "Recovery.ask_reset", "Recovery.reset_password",
        "EmailChanges.ask_email", "EmailChanges.confirm_email", "EmailChanges.undo_email",
        "SignUps.ask_sign_up", "SignUps.sign_up",
    }  # fmt: skip
