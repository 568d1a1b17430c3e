# Gridpact's Julia engine as a process of the benchmark; bench/compute/lane.py says what it answers.

using GridpactCompute
const Engine = GridpactCompute

"A prepared input: `call(measure!)` is what is timed, `answer()` tells the solution of the last call."
struct Lane
    call::Function
    answer::Function
end

"Decode, compute, encode: what a worker does with the body of a task."
whole(kind, body) = Engine.compute_body(kind, body, (arguments...; named...) -> nothing)

function dispatch(source)
    body = read(source)
    input = Engine.unpack(Engine.DispatchInput, body; limits = Engine.LIMITS)
    plan = nothing
    function call(measure!)
        measure!(() -> plan = Engine.solve_dispatch(Engine.dispatch_problem(input)), "")
        measure!(() -> whole("dispatch", body), "task")
    end
    return Lane(call, () -> Dict("cost" => plan.cost))
end

const LANES = Dict{String,Function}("dispatch" => dispatch)

json(value::Real) = repr(Float64(value))
json(value::AbstractString) = string('"', replace(replace(value, '\\' => "\\\\"), '"' => "\\\""), '"')
json(values::AbstractVector) = string('[', join(map(json, values), ','), ']')
json(members::AbstractDict) =
    string('{', join([string(json(name), ':', json(value)) for (name, value) in members], ','), '}')

function reply(words, prepared)
    if words[1] == "prepare"
        haskey(LANES, words[2]) || return Dict("missing" => "there is no lane $(words[2])")
        prepared[words[2]] = LANES[words[2]](words[3])
        return Dict{String,Any}()
    elseif words[1] == "call"
        times = Dict{String,Vector{Float64}}()
        function measure!(f, name)
            began_ns = time_ns()
            f()
            push!(get!(times, name, Float64[]), (time_ns() - began_ns) / 1e6)
        end
        GC.gc() # what earlier calls left behind is not this one's
        for _ in 1:parse(Int, words[3])
            prepared[words[2]].call(measure!)
        end
        return Dict("ms" => times)
    elseif words[1] == "answer"
        return prepared[words[2]].answer()
    elseif words[1] == "versions"
        return Dict("julia" => string(VERSION), "highs (Gridpact's Julia engine)" => Engine.Highs.version())
    end
    error("not understood: $words")
end

function serve()
    # What libraries print must not get between the answers.
    answers = fdio(ccall(:dup, Cint, (Cint,), 1))
    ccall(:dup2, Cint, (Cint, Cint), 2, 1)
    prepared = Dict{String,Lane}()
    for line in eachline(stdin)
        println(answers, json(reply(split(line, '\t'), prepared)))
        flush(answers)
    end
end

Engine.warm_up()
serve()
