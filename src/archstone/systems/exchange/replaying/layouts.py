"""The messages of TotalView-ITCH 5.0, byte by byte."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

__all__ = ["LAYOUTS"]

_HEAD: Final = "type:S1 locate:>u2 tracking:>u2 time_high:>u2 time_low:>u4"
"""What each begins with: 11 bytes. The time is one number of six bytes."""

_TABLE: Final = """
S  event:S1
R  stock:S8 category:S1 status:S1 round_lot:>u4 round_only:S1 class:S1 subtype:S2 authentic:S1 short_sale:S1 ipo:S1
   luld_tier:S1 etp:S1 leverage:>u4 inverse:S1
H  stock:S8 state:S1 reserved:S1 reason:S4
Y  stock:S8 action:S1
L  mpid:S4 stock:S8 primary:S1 mode:S1 participant:S1
V  level1:>u8 level2:>u8 level3:>u8
W  breached:S1
K  stock:S8 release:>u4 qualifier:S1 ipo_price:>u4
J  stock:S8 reference:>u4 upper:>u4 lower:>u4 extension:>u4
h  stock:S8 market:S1 action:S1
A  ref:>u8 side:S1 shares:>u4 stock:S8 price:>u4
F  ref:>u8 side:S1 shares:>u4 stock:S8 price:>u4 attribution:S4
E  ref:>u8 shares:>u4 match:>u8
C  ref:>u8 shares:>u4 match:>u8 printable:S1 price:>u4
X  ref:>u8 shares:>u4
D  ref:>u8
U  ref:>u8 new:>u8 shares:>u4 price:>u4
P  ref:>u8 side:S1 shares:>u4 stock:S8 price:>u4 match:>u8
Q  shares:>u8 stock:S8 price:>u4 match:>u8 cross:S1
B  match:>u8
I  paired:>u8 imbalance:>u8 direction:S1 stock:S8 far:>u4 near:>u4 reference:>u4 cross:S1 variation:S1
N  stock:S8 interest:S1
O  stock:S8 eligible:S1 lowest:>u4 highest:>u4 near:>u4 near_time:>u8 lower:>u4 upper:>u4
"""


def _layouts() -> Mapping[bytes, np.dtype[np.void]]:
    found: dict[bytes, np.dtype[np.void]] = {}
    for line in _TABLE.strip().replace("\n   ", " ").splitlines():
        letter, _, fields = line.partition(" ")
        named = [each.partition(":") for each in f"{_HEAD} {fields}".split()]
        found[letter.encode()] = np.dtype([(name, kind) for name, _, kind in named])
    return MappingProxyType(found)


LAYOUTS: Final = _layouts()
"""By the letter of the type, without the two bytes of length."""
