# Gridpact's Julia engine as a process of the benchmark; bench/compute/lane.py says what it answers.

# As in julia/bin/worker.jl, which says why.
Core.eval(Base, :(Experimental.@optlevel 1))

using GridpactCompute
const Engine = GridpactCompute

"A prepared input: `call(measure!)` is what is timed, `answer()` tells the solution of the last call."
struct Lane
    call::Function
    answer::Function
end

"Decode, compute, encode: what a worker does with the body of a task."
whole(kind, body) = Engine.compute_body(kind, body, unheard)
unheard(arguments...; named...) = nothing

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

const Networks, Newton = Engine.PowerNetworks, Engine.Newton
const TOLERANCE_PU, MOST_ITERATIONS = 1e-8, 30

"Branches and injections in per unit to voltages and flows, everything anew; `solver` stays open."
function solve_anew(problem)
    given = problem.network
    network = Networks.PowerNetwork(given.branches, Networks.admittance(given.branches, given.shunt),
        given.shunt, given.role, given.set_voltage, given.set_angle, given.min_reactive,
        given.max_reactive)
    solver = Newton.Solver(network)
    start = Newton.Start(ones(length(given.role)), Networks.flat_angles(network))
    solve_from!(solver, problem, start)
    return solver, start
end

"Newton-Raphson from the start and the flows, with what the solver has kept."
function solve_from!(solver, problem, start)
    Networks.inject!(solver.active, solver.reactive, problem.injections, 1, 1.0)
    Newton.start!(solver, start)
    outcome = Newton.solve!(solver; tolerance = TOLERANCE_PU, max_iterations = MOST_ITERATIONS)
    outcome.converged || error("no solution: $outcome")
    return Networks.flows(solver.network.branches, solver.voltage)
end

read_power_flow(body) = Engine.unpack(Engine.PowerFlowInput, body; limits = Engine.LIMITS)
problem_of(input) = Engine.network_problem(input.network, input.profiles; de_energise = false)
parts(voltage) = [real.(voltage); imag.(voltage)]
voltages(state) = state.voltage_pu .* cis.(deg2rad.(state.angle_deg))

function power_flow(source)
    body = read(source)
    input = read_power_flow(body)
    problem = problem_of(input)
    found = Ref{Any}()
    solved = Ref{Any}()
    function call(measure!)
        measure!(() -> found[] = Engine.compute(input, unheard), "")
        measure!(() -> solved[] = solve_anew(problem), "solve")
        solver, start = solved[]
        measure!(() -> solve_from!(solver, problem, start), "repeat")
        measure!(() -> whole("power-flow", body), "task")
        solved[] = copy(solver.voltage)
        close(solver)
    end
    # Both ways to the voltages have to be right.
    function answer()
        result, alone = voltages(found[].states[1]), solved[]
        maximum(abs.(result .- alone)) <= 1e-9 || error("the solver alone finds other voltages")
        return Dict("voltage" => parts(result))
    end
    return Lane(call, answer)
end

"Of every so many slots the first one's voltages are compared, as in lightsim2grid_flow.py."
const SAMPLE_INTERVAL = 1460

function power_flow_year(source)
    body = read(source)
    input = read_power_flow(body)
    problem = problem_of(input)
    found = Ref{Any}()
    sampled = Vector{ComplexF64}[]
    function every_slot()
        solver = Newton.Solver(problem.network)
        empty!(sampled)
        Engine.each_slot!(solver, problem, input.options, input.slots, unheard) do slot, iterations
            (slot - 1) % SAMPLE_INTERVAL == 0 && push!(sampled, copy(solver.voltage))
        end
        close(solver)
    end
    function call(measure!)
        measure!(() -> found[] = Engine.compute(input, unheard), "")
        measure!(every_slot, "solve")
        measure!(() -> whole("power-flow", body), "task")
    end
    function answer()
        extremes, by_slot = found[].extremes, found[].by_slot
        return Dict("lowest_by_slot" => by_slot.lowest_voltage_pu,
            "highest_by_slot" => by_slot.highest_voltage_pu,
            "lowest_by_bus" => extremes.lowest_voltage_pu,
            "highest_by_bus" => extremes.highest_voltage_pu,
            "sampled_voltage" => parts(reduce(vcat, sampled)))
    end
    return Lane(call, answer)
end

"The steps of two controllers, one step of each in each call: decoded messages, and bytes to bytes."
function mpc_step(source)
    bodies = Vector{UInt8}[]
    open(source) do file
        while !eof(file)
            push!(bodies, read(file, ltoh(read(file, Int64))))
        end
    end
    inputs = [Engine.unpack(Engine.MpcStepInput, body; limits = Engine.LIMITS) for body in bodies]
    other = [Engine.pack(Engine.MpcStepInput(controller_id = "Other", problem = input.problem,
        control_slots = input.control_slots)) for input in inputs]
    next, costs = Ref(0), Float64[]
    found = Ref{Any}()
    function call(measure!)
        at = next[] % length(inputs) + 1
        next[] += 1
        measure!(() -> found[] = Engine.compute(inputs[at], unheard), "")
        measure!(() -> whole("mpc-step", other[at]), "task")
        push!(costs, found[].cost)
    end
    return Lane(call, () -> Dict("cost_of_last_steps" => costs[max(1, end - 9):end]))
end

function unit_commitment(source)
    input = Engine.unpack(Engine.UnitCommitmentInput, read(source); limits = Engine.LIMITS)
    found = Ref{Any}()
    call(measure!) = measure!(() -> found[] = Engine.compute(input, unheard), "")
    return Lane(call, () -> Dict("cost" => found[].cost))
end

"Each lane with the type of its kind's input."
const LANES = Dict{String,Pair{DataType,Function}}(
    "dispatch" => Engine.DispatchInput => dispatch,
    "mpc_step" => Engine.MpcStepInput => mpc_step,
    "power_flow" => Engine.PowerFlowInput => power_flow,
    "power_flow_year" => Engine.PowerFlowInput => power_flow_year,
    "unit_commitment" => Engine.UnitCommitmentInput => unit_commitment)

json(value::Real) = repr(Float64(value))
json(value::AbstractString) = string('"', replace(replace(value, '\\' => "\\\\"), '"' => "\\\""), '"')
json(values::AbstractVector) = string('[', join(map(json, values), ','), ']')
json(members::AbstractDict) =
    string('{', join([string(json(name), ':', json(value)) for (name, value) in members], ','), '}')

function reply(words, prepared)
    if words[1] == "prepare"
        input, prepare = LANES[words[2]]
        hasmethod(Engine.compute, Tuple{input,typeof(unheard)}) ||
            return Dict("missing" => "Julia does not compute $input")
        prepared[words[2]] = prepare(words[3])
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
