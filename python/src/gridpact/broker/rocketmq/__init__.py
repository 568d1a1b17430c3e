"""The broker port on RocketMQ 5, over its gRPC proxy; see docs/brokers.md.

`adapter` is the Broker and its Consumers, `session` what the proxy knows of a consumer,
`administration` topics, groups, offsets and dead letters, over `remoting`, the protocol of name
servers and brokers. `protocol` is what is taken from the official Python client.
"""
