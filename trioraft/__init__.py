"""gRPC and Raft for Trio: the embedding API."""
