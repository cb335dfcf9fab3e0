"""MCP methods, one module per feature: tools, resources, prompts, completion, tasks, subscriptions, lifecycle."""
