"""State machines that ship with trioraft: the etcd data model, and a counter to learn from."""
