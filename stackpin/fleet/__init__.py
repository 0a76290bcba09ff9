"""The worker fleet: what each node is, which ones to update now, and doing that for ever.

`model` and `states` say what is known of a node and what that makes it; `decide` and `backoff` say
what to do next; `passes` and `watch` do it on anything that is a `Fleet`. All of these are free of
I/O. `rollout` is the Fleet of real hosts, `simulated` one in memory.
"""
