"""What stands between a call and a server: addresses that are dialled, kept and left."""
