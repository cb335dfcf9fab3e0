"""Manifests (Tool, ToolSet, Resource, Prompt, PriceList, Budgets, ClientRequests) from parsed documents to operations
and findings."""
