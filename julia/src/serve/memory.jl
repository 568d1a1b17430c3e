# What a worker may use of the machine's memory. Three nets, the finest first: an allocation beyond the
# limit fails in the worker; the front looks ten times a second at what its busy workers use; and when the
# machine runs out all the same, the kernel takes a worker and not the front.

"How a worker ends that ran out of memory."
const OUT_OF_MEMORY_EXIT = 71
const LEAST_WORKER_MEMORY_MIB = 256
const MEMORY_CHECK_INTERVAL_S = 0.1
const RLIMIT_DATA = 2
"Of 1000: what the kernel adds when it looks for a process to kill."
const OOM_SCORE = 500

"""
    worker_memory_mib(workers) -> MiB

What each of as many workers may use: `GRIDPACT_WORKER_MEMORY_MIB`, or else its share of three quarters of
the memory of the machine, or of the container around it. Throws `ArgumentError` for a setting that is no
number or too small for any task.
"""
function worker_memory_mib(workers::Int)
    setting = get(ENV, "GRIDPACT_WORKER_MEMORY_MIB", "")
    if isempty(setting)
        return max(LEAST_WORKER_MEMORY_MIB, Int(3 * machine_memory_bytes() ÷ (4 * workers * 2^20)))
    end
    limit_mib = tryparse(Int, setting)
    (limit_mib === nothing || limit_mib < LEAST_WORKER_MEMORY_MIB) && throw(ArgumentError(
        "GRIDPACT_WORKER_MEMORY_MIB must be a whole number of at least $LEAST_WORKER_MEMORY_MIB"))
    return limit_mib
end

"The least of the machine's memory and the limits of the control groups that this process is in."
function machine_memory_bytes()
    limits = [Int(Sys.total_memory())]
    for line in readlines_of("/proc/self/cgroup")
        _, controllers, path = split(line, ':'; limit = 3)
        files = isempty(controllers) ? ["/sys/fs/cgroup$path/memory.max", "/sys/fs/cgroup/memory.max"] :
                controllers == "memory" ? ["/sys/fs/cgroup/memory$path/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes"] : String[]
        for file in files, text in readlines_of(file)
            limit = tryparse(Int, text)                     # or "max"
            limit === nothing || push!(limits, limit)
        end
    end
    return minimum(limits)
end

readlines_of(path::String) = isfile(path) ? readlines(path) : String[]

"MiB that a process has for itself alone; 0 when it is gone."
function private_memory_mib(pid::Integer)
    text = try
        read("/proc/$pid/statm", String)
    catch err
        err isa Union{SystemError,Base.IOError} || rethrow()
        return 0
    end
    pages = split(text)
    length(pages) < 3 && return 0
    return (parse(Int, pages[2]) - parse(Int, pages[3])) * page_bytes() ÷ 2^20
end

page_bytes() = Int(ccall(:getpagesize, Cint, ()))

out_of_memory(limit_mib::Int) = ContractError("OUT_OF_MEMORY", "",
    "the task needs more than the $limit_mib MiB that a worker may use; ask for fewer slots, assets or " *
    "scenarios, or raise GRIDPACT_WORKER_MEMORY_MIB of the node")

"End this process at once; the front says why."
end_out_of_memory() = ccall(:_exit, Cvoid, (Cint,), OUT_OF_MEMORY_EXIT)

"""
    limit_memory(limit_mib)

In a worker, once it has started: from now on an allocation beyond the limit fails, and where it is C++
that allocates, ends the process. Julia reserves address space that it does not use; that is not counted.
"""
function limit_memory(limit_mib::Int)
    Sys.islinux() || return nothing
    reserved = parse(Int, split(read("/proc/self/statm", String))[6]) * page_bytes() -
        private_memory_mib(getpid()) * 2^20
    limit = Culong[0, 0]                                    # soft, hard
    ccall(:getrlimit, Cint, (Cint, Ptr{Culong}), RLIMIT_DATA, limit)
    limit[1] = min(limit_mib * 2^20 + max(0, reserved), limit[2])
    ccall(:setrlimit, Cint, (Cint, Ptr{Culong}), RLIMIT_DATA, limit) == 0 ||
        error("the memory of a worker cannot be limited")
    # HiGHS lets a failed allocation pass as whatever it meets on its way; half a model is no use anyway.
    set_new_handler = Libdl.dlsym(Libdl.dlopen("libstdc++.so.6"), :_ZSt15set_new_handlerPFvvE)
    ccall(set_new_handler, Ptr{Cvoid}, (Ptr{Cvoid},), @cfunction(end_out_of_memory, Cvoid, ()))
    write("/proc/self/oom_score_adj", string(OOM_SCORE))
    return nothing
end

"After a task that needed much: what is kept for later ones goes first."
function relieve_memory(limit_mib::Int)
    2 * private_memory_mib(getpid()) > limit_mib || return nothing
    empty!(WARM_MODELS)
    GC.gc()
    Sys.islinux() && ccall(:malloc_trim, Cint, (Csize_t,), 0)
    return nothing
end
