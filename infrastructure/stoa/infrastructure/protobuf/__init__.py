"""Protocol Buffers for the families that have them: descriptors, their JSON Schema, .proto files, messages as JSON.
Needs the extra `grpc`, which is imported on first use."""
