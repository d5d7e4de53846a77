"""Values of the header `Cache-Control`, by what they are for.

Source: RFC 9111, section 5.2; RFC 8246 for `immutable`.
"""

from typing import Final

__all__ = ["API", "CHECKED", "PERSONAL", "STATIC"]

STATIC: Final = "public, max-age=31536000, immutable"
"""A file whose name changes with its content: for a year, and nobody asks again."""

API: Final = "public, max-age=300"
"""An answer that is the same for everybody: five minutes, in browsers, CDNs and proxies. It cannot be taken back."""

PERSONAL: Final = "no-store"
"""What is for one person: kept nowhere."""

CHECKED: Final = "no-cache"
"""Kept, and asked about each time, by entity tag: as fresh as the application, with less to send."""
