"""What lets programs in: API keys, and the OAuth server by which programs of others act for customers."""
