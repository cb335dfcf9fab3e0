"""Authentication of callers with the limits of their role, limits of strangers, and the one place that hears of every
refusal."""
