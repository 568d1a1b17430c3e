"""The public REST API: contracts/openapi.yaml in front, gRPC behind."""
