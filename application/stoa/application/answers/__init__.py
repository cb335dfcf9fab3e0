"""What callers get of an answer: projections of it, and the rest of a long one piece by piece."""
