"""Rules around any policy engine: the scopes of a token limit what roles grant; `CheckPolicy` searches for
counterexamples to the laws."""
