"""What a leader keeps count of: each follower's `progress` and what is `inflight` to it, what a
`quorum` agrees on, and the `reads` that wait for one.
"""
