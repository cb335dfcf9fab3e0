"""Requests from a running call to its client (MCP sampling, elicitation, roots), their answers, and the rules that
bound them per tenant."""
