"""Sites and what stands on them: batteries, PV plants, loads, tariffs."""
