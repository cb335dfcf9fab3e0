"""Operations: tools, resources and prompts with their bindings, and the catalogue, an immutable snapshot of them."""
