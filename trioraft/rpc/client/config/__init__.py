"""Service configs: reading them, and what calls make of them."""
