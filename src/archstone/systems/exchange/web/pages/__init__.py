"""What each page shows and does: from a request to a template with values, or to another page."""

__all__: list[str] = []
