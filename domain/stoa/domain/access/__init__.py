"""Principals and their rights by role and scope; rate limits and fair shares of bounded resources."""
