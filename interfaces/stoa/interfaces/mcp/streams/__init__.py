"""Sessions and resumable event streams, in this process and between replicas."""
