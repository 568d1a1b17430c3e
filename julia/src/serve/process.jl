# What the operating system has to do for us: signals, and workers that never outlive the front.

const SIGNAL_INTERRUPT, SIGNAL_KILL, SIGNAL_TERMINATE = 2, 9, 15
const UV_SIGNAL_HANDLE = 16
const UNBLOCK = 1
const PARENT_DEATH_SIGNAL = 1

"What the signal handler wakes; C code can only be given something that never moves."
const STOP = Ref{Union{Base.AsyncCondition,Nothing}}(nothing)

function on_signal(::Ptr{Cvoid}, ::Cint)
    ccall(:uv_async_send, Cint, (Ptr{Cvoid},), STOP[].handle)
    return nothing
end

"""
    on_stop_signal(act) -> release

Call `act()` when the process is told to end (SIGTERM or SIGINT), until `release()`. Julia's own way to
end is to print a stack trace of wherever it was. Its listener thread takes signals that every thread
blocks, so they are unblocked here and given to the event loop.
"""
function on_stop_signal(act)
    STOP[] = Base.AsyncCondition(_ -> act())
    handler = @cfunction(on_signal, Cvoid, (Ptr{Cvoid}, Cint))
    handles = map((SIGNAL_INTERRUPT, SIGNAL_TERMINATE)) do signal
        handle = Libc.malloc(ccall(:uv_handle_size, Csize_t, (Cint,), UV_SIGNAL_HANDLE))
        ccall(:uv_signal_init, Cint, (Ptr{Cvoid}, Ptr{Cvoid}), Base.eventloop(), handle)
        ccall(:uv_signal_start, Cint, (Ptr{Cvoid}, Ptr{Cvoid}, Cint), handle, handler, signal)
        set = zeros(UInt8, 128)
        ccall(:sigaddset, Cint, (Ptr{UInt8}, Cint), set, signal)
        ccall(:pthread_sigmask, Cint, (Cint, Ptr{UInt8}, Ptr{Cvoid}), UNBLOCK, set, C_NULL)
        handle
    end
    # Julia's exit looks into every open handle of the loop and does not know these: without `release`
    # it crashes.
    return function release()
        foreach(handle -> ccall(:uv_close, Cvoid, (Ptr{Cvoid}, Ptr{Cvoid}), handle, C_NULL), handles)
        sleep(0.01)
    end
end

"Ask the kernel to kill this process when its parent dies, in whatever way."
function die_with_parent(parent_pid::Integer)
    Sys.islinux() && ccall(:prctl, Cint, (Cint, Culong), PARENT_DEATH_SIGNAL, SIGNAL_KILL)
    ccall(:getppid, Cint, ()) == parent_pid || exit(0)
    return nothing
end
