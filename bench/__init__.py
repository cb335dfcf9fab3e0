"""Side-by-side benchmark: what the gateway's governance costs, against no governance and against FastMCP.

Run it with `make bench` or `python -m bench --help`; README.md here says what is compared and how to read it.
`python -m bench sessions` measures what many open event streams cost, and what a reconnect storm does.
Everything is driven from outside, over loopback, with standard tools (nginx, wrk).
"""
