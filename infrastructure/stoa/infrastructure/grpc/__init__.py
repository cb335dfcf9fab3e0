"""gRPC services as tools: descriptions by server reflection, descriptor sets or .proto files, and calls with dynamic
messages. grpcio and protobuf are imported with the first call."""

import os

from stoa.infrastructure.grpc.backend import GrpcBackend
from stoa.infrastructure.grpc.spec_kind import GrpcSpecKind

__all__ = ["GrpcBackend", "GrpcSpecKind"]

# Read by grpcio when it is imported. Its own lines have another form than the gateway's log, and quote addresses.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
