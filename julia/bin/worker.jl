# One worker process; started by the front process, never by hand.

using GridpactCompute

GridpactCompute.work(ARGS[1], parse(Int, ARGS[2]), parse(Int, ARGS[3]), parse(Int, ARGS[4]))
