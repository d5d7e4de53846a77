"""HTTP's own caching: header values by name, and a reverse-proxy cache before any ASGI application.

STATIC, API, PERSONAL, CHECKED      values for `Cache-Control`, after what they are for
HttpCache                           answers what may be answered, without asking the application

app = HttpCache(app, pages)         # pages = Cache("memory:?max_bytes=64000000"), opened in the lifespan
"""

from archstone.cache.http.policies import API, CHECKED, PERSONAL, STATIC
from archstone.cache.http.proxy import HttpCache

__all__ = ["API", "CHECKED", "PERSONAL", "STATIC", "HttpCache"]
