"""JSON values and text as others wrote them, and the JSON Schema kit that all layers share: one walker (`subschemas`),
JSON Pointers (`json_pointer`), references within a schema (`schema_document`), writing them out (`inlining`), and the
portable form that all MCP clients accept (`portable_schema`, of levels of `portable_level` and `portable_root`, each
made of a `flat_schema`)."""
