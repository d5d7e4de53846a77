"""The shop with planted faults: whoever is signed in sees every order, and cancels it. The fuzz must notice."""

from archstone.context import Principal
from archstone.security import Rule
from archstone.systems.shop.orders import service
from archstone.systems.shop.system import shop

__all__ = ["shop"]


def _anybody(principal: Principal, customer_id: str) -> bool:
    del principal, customer_id
    return True


service.OWN_ORDER = Rule("own order", _anybody)
service.CANCELLABLE_ORDER = Rule("own order", _anybody)
