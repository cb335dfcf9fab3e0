"""Open Policy Agent: Rego policies, compiled to WebAssembly and evaluated in this process, or evaluated by an OPA
server."""
