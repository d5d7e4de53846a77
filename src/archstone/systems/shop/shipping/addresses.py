"""Addresses of parcels, sealed: who has the file of shipping, or a copy of it, has no address without the root key.

They are written with the parcel, and read by whoever writes its label. Addresses that an older release has written in
the clear are sealed in the background, some at a time.
"""

from typing import Final

from archstone.security import DataKeys, Encrypted, SealedColumn
from archstone.services import Tx
from archstone.systems.shop.values import Address

__all__ = ["SCOPE", "address_of", "seal_old", "sealed"]

SCOPE: Final = "shipping"
"""What shares a data key: all parcels."""
OLD_LIMIT: Final = 200
"""Old addresses sealed in one transaction."""
_COLUMN: Final = SealedColumn(Address, "shipments", "sealed", key="order_id")


async def sealed(keys: DataKeys, order_id: str, address: Address) -> Encrypted[Address]:
    """Return the address of a parcel as it is stored."""
    return _COLUMN.seal(address, row=order_id, ring=await keys.ring(SCOPE))


async def address_of(keys: DataKeys, order_id: str, stored: bytes) -> Address:
    """Return the address of a parcel.

    Raises:
        BrokenSealError: It was changed, or is that of another parcel.
    """
    return _COLUMN.open(stored, row=order_id, ring=await keys.ring(SCOPE))


async def seal_old(keys: DataKeys, tx: Tx) -> int:
    """Seal at most 200 addresses that stand in the clear, and return how many that were."""
    old = await tx.all(
        tuple[str, str], "SELECT order_id, address FROM shipments WHERE address <> '' LIMIT :limit", limit=OLD_LIMIT
    )
    for order_id, text in old:
        await tx.execute(
            "UPDATE shipments SET sealed = :sealed, address = '' WHERE order_id = :order_id",
            order_id=order_id, sealed=await sealed(keys, order_id, Address.model_validate_json(text)),
        )  # fmt: skip
    return len(old)
