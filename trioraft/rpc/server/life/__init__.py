"""The life of a server's connections: their rules, their timers, and how they leave."""
