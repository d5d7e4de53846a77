"""Who the customers are: registration, sign-in, profile and roles."""

__all__: list[str] = []
