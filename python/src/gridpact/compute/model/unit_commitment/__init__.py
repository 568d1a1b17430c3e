"""Unit commitment: docs/compute/unit-commitment.md."""
