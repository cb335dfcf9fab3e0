"""Cancellation, deadlines, supervision of background work and fair use of threads, on top of asyncio."""
