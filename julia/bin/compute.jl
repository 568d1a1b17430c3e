# Starts a compute node:
#   julia --project=julia julia/bin/compute.jl [--host H] [--port P] [--workers N]
# The secret shared with the bridge comes from GRIDPACT_COMPUTE_SECRET; GRIDPACT_WORKER_MEMORY_MIB is what a
# worker may use.

using GridpactCompute

exit(GridpactCompute.main(ARGS))
