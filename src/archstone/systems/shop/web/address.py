"""What a client that has not signed in is counted by."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from archstone.systems.shop.web.asgi import Scope

__all__ = ["address_key"]


def address_key(scope: Scope) -> str:
    """Return the client's address; for IPv6 its /64, since one host owns that many."""
    client: tuple[str, int] | None = scope.get("client")
    if client is None:
        return "address:unknown"
    try:
        address = ip_address(client[0].partition("%")[0])
    except ValueError:
        return f"address:{client[0]}"
    if not isinstance(address, IPv6Address):
        return f"address:{address}"
    return f"address:{address.ipv4_mapped or IPv6Network((address, 64), strict=False)}"
