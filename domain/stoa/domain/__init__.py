"""Pure models of the gateway and their rules. Imports the standard library and pydantic only; performs no I/O.

    schema     JSON values, plain text, portable JSON Schema
    results    content blocks and results of calls (MCP content), redaction
    access     principals, roles, rate limits, fair shares
    operations tools, resources and prompts: the catalogue and its entries
    policy     policy queries, decisions, permits, refusals
    client_requests   requests from a running call to its client (sampling, elicitation, roots)
    metering   metering events, prices, budgets
    calls      invocations, outcomes, tasks, sessions
    errors     the tree of all errors that a caller may see

Each package is below those that use it; import-linter holds the order (`pyproject.toml`).
"""
