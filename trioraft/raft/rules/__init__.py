"""The rules of Raft: plain functions that change one node's `State`, by what they are about.

Who leads: `election`, `transfer`, `roles`. What is replicated: `proposals`, `replication` (the
leader's side), `follower`. Who takes part: `reconfiguration`. When all is quiet: `quiescence`.
"""
