"""Code that the doors share: JSON text, request bodies, credentials, error codes, challenges, and the JSON forms of
catalogue entries and results."""
