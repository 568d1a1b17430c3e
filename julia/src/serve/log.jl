# One line an event: `time=… level=… process=… event=… key=value`, as every process of the platform.

const PROCESS = "compute-julia"

"""
    log_event(level, event; fields...)

Write one line to standard output. The event is a constant in lower-case-with-dashes; what varies
goes into the fields.
"""
function log_event(level::Symbol, event::String; fields...)
    line = IOBuffer()
    now = time()
    print(line, "time=", Dates.format(Dates.unix2datetime(now), "yyyy-mm-ddTHH:MM:SS.sss"), "Z",
        " level=", level, " process=", PROCESS, " event=", event)
    for (key, value) in fields
        print(line, ' ', key, '=', log_value(value))
    end
    print(line, '\n')
    write(stdout, take!(line))
    flush(stdout)
    return nothing
end

function log_value(value)
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
