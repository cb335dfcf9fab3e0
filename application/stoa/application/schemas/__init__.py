"""JSON Schema work precomputed at registration: bounded validation and coercion of arguments, fitting of outputs,
patterns."""
