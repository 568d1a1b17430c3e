# Run by build-image with --output-o: what is in this process at its end becomes the system image.
#
#     julia --sysimage=… --output-o=… image.jl STATEMENTS

# None of this is done yet in a process that writes an image.
Base.reinit_stdio()
Core.eval(Sys, :(BINDIR = ccall(:jl_get_julia_bindir, Any, ())::String))
const STDLIB = abspath(Sys.BINDIR, "..", "share", "julia", "stdlib", "v$(VERSION.major).$(VERSION.minor)")
Core.eval(Sys, :(STDLIB = $STDLIB))
Base.init_depot_path()
Base.init_load_path()

using GridpactCompute

let names = Module(), passed_over = 0
    for package in values(Base.loaded_modules)
        Core.eval(names, :($(nameof(package)) = $package))
    end
    for statement in eachline(ARGS[1])
        try
            Core.eval(names, Meta.parse(statement))
        catch err
            # Of what was made up in the traced process, or cannot be written down again.
            err isa Union{UndefVarError,Base.Meta.ParseError,ErrorException} || rethrow()
            passed_over += 1
        end
    end
    println("image.jl: ", countlines(ARGS[1]) - passed_over, " methods, ", passed_over, " passed over")
end

# Of this process; the next one finds its own.
empty!(LOAD_PATH)
empty!(DEPOT_PATH)
