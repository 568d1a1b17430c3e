"""gRPC as every service serves it and every client calls it."""
