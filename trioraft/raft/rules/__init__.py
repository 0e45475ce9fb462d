"""The rules of Raft: plain functions that change one node's `State`, by what they are about.

Who leads: `election`, `transfer`, `roles`. What is replicated: `proposals`, `replication` (the
leader's side), `follower`. Who takes part: `reconfiguration`. Who may answer reads at once:
`leases`. When all is quiet: `quiescence`.
"""
