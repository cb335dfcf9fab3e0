"""One call from its invocation to its outcome, and what outlives a request: tasks and sessions."""
