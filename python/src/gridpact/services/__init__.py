"""The process that hosts the gRPC services: all of them together, or some of them alone."""
