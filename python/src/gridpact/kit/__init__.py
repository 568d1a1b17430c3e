"""What every service needs and none of them owns: errors, callers, stores, wire, gRPC."""
