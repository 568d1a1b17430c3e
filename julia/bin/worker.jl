# One worker process; started by the front process, never by hand.

# Whatever a module asks for, the compiler tries no harder than the command line says. A worker is started
# with -O3 for the kernels that ask for it (`@optlevel 3`); the library around them shall start quickly.
Core.eval(Base, :(Experimental.@optlevel 1))

using GridpactCompute

GridpactCompute.work(ARGS[1], parse(Int, ARGS[2]), parse(Int, ARGS[3]), parse(Int, ARGS[4]))
