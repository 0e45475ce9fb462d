"""A call, as its caller has it: opened, sent to, answered."""
