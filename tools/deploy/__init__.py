"""Tools for what is in `deploy`."""
