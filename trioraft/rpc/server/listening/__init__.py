"""Where a server listens: said, bound, accepted from, and given back."""
