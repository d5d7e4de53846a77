"""Stores of shared circuits and limiters; the scheme of a URL finds them."""
