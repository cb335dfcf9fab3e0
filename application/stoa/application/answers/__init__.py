"""Parts of answers for callers: projections, and the rest of a long answer piece by piece."""
