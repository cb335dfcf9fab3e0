"""Metering events, money in integer micro-units, price lists and budgets."""
