"""In-memory adapters of the ports: defaults of an embedded `Gateway`, and the reference in every contract suite."""
