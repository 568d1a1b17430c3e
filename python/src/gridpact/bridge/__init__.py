"""The bridge: takes compute tasks off the queue and hands them to compute nodes, losing nothing."""
