"""JSON Schema work precomputed at registration: bounded validation, coercion of arguments, pruning of answers to their
output schema, and patterns that cannot take long."""
