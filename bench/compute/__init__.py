"""Benchmarks of the compute kinds beside the programs their users run today: bench/README.md."""
