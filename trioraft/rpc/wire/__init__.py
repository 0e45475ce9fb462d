"""What both ends of a call share: the engine's connection, and messages in and out of it."""
