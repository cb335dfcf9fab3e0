"""Open Policy Agent: Rego policies in this process, compiled to WebAssembly, or asked of an OPA server."""
