# One line an event: `time=… level=… process=… event=… key=value`, as every process of the platform.

const PROCESS = "compute-julia"

"""
    log_event(level, event; fields...)

Write one line to standard output. The event is a constant in lower-case-with-dashes; what varies
goes into the fields.
"""
function log_event(level::Symbol, event::String; fields...)
    line = IOBuffer()
    print(line, "time=", instant(time()), " level=", level, " process=", PROCESS, " event=", event)
    for (key, value) in fields
        print(line, ' ', key, '=', log_value(value))
    end
    print(line, '\n')
    write(stdout, take!(line))
    flush(stdout)
    return nothing
end

"Unix seconds as the contract writes an instant. By the C library: `Dates` would be compiled first."
function instant(unix_s::Float64)
    whole_s = floor(Int, unix_s)
    parts = Libc.TmStruct()
    ccall(:gmtime_r, Ptr{Cvoid}, (Ref{Int}, Ref{Libc.TmStruct}), whole_s, parts)
    milliseconds = string(1000 + floor(Int, 1000 * (unix_s - whole_s)))
    return string(Libc.strftime("%Y-%m-%dT%H:%M:%S.", parts), milliseconds[2:end], "Z")
end

function log_value(@nospecialize(value))
    text = string(value)
    plain = !isempty(text) && !occursin(r"[\s\"=\x00-\x1f\x7f]", text)
    return plain ? text : string('"', escape_string(text), '"')
end

"Run `work()` in a task of its own; an exception nobody caught is logged, never lost."
function in_background(work, name::String)
    return @async try
        work()
    catch err
        log_event(:error, "task-failed"; name = name,
            error = sprint(showerror, err, catch_backtrace()))
    end
end
