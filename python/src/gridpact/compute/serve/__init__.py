"""The processes of a compute node: a front that talks, and workers that compute."""
