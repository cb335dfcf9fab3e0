"""Authorisation as values: the query a policy engine gets, its decision, the permit that a back end requires, and
refusals."""
