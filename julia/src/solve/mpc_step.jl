# The kind `mpc-step`: a dispatch that goes on from the last step of its controller.

"""
    compute(input::MpcStepInput, progress) -> MpcStepResult

The plan from now on, and what to do first. Throws as `dispatch` does, fields under `problem`.
"""
function compute(input::MpcStepInput, progress)
    began_ns = time_ns()
    # The name of the kind keeps apart what other kinds keep under the same one.
    key = "mpc-step " * input.controller_id
    kept = take!(WARM_MODELS, key)
    warm = kept === nothing ? WarmProgram() : kept::WarmProgram
    warm.used = false
    plan = try
        within("problem", () -> dispatch(input.problem, progress, warm))
    catch
        close(warm)
        rethrow()
    end
    keep!(WARM_MODELS, key, warm)
    return MpcStepResult(controller_id = input.controller_id, control_slots = input.control_slots,
        set_points = set_points(plan, input.control_slots), reasons = first_reasons(plan), cost = plan.cost,
        warm = warm.used, solve_ms = (time_ns() - began_ns) / 1e6, plan = plan)
end

"Do `work`; the fields that an error blames lie below `field`."
function within(field::String, work)
    try
        return work()
    catch err
        err isa ContractError || rethrow()
        throw(ContractError(err.reason, isempty(err.field) ? "" : "$field.$(err.field)", err.message,
            Violation[Violation(isempty(v.field) ? field : "$field.$(v.field)", v.rule, v.message) for v in err.violations]))
    end
end

"What each asset shall do in the first slots, in the order of the contract."
function set_points(plan::DispatchResult, count::Int)
    found = AssetSetPoints[]
    add(its; running = nothing, limited = nothing) = push!(found, AssetSetPoints(name = its.name,
        power_kw = its.power_kw[1:count], running = running, limited = limited))
    foreach(add, plan.batteries)
    foreach(its -> add(its; limited = Float64[why != "FULL_OUTPUT" for why in its.reasons[1:count]]), plan.pv)
    foreach(list -> foreach(add, list), (plan.flexible_loads, plan.cycles, plan.electric_vehicles, plan.heat_pumps))
    foreach(its -> add(its; running = its.running[1:count]), plan.generators)
    return found
end

"Why each asset does so in the first slot, in the same order."
function first_reasons(plan::DispatchResult)
    found = MpcStepReason[]
    add(its) = push!(found, MpcStepReason(its.name, its.reasons[1]))
    foreach(list -> foreach(add, list), (plan.batteries, plan.pv, plan.flexible_loads))
    foreach(its -> push!(found, MpcStepReason(its.name, its.reason)), plan.cycles)
    foreach(list -> foreach(add, list), (plan.electric_vehicles, plan.heat_pumps, plan.generators))
    return found
end

"A first step, the next one from what it has left, and one that ends in an error."
function rehearsals(::Type{MpcStepInput})
    step(input) = MpcStepInput("a rehearsal", input, 1)
    return (step(rehearsal_house()) => nothing, step(rehearsal_house()) => nothing,
        step(rehearsal_house(max_import_kw = 0.1, on_conflict = "FAIL")) => "INFEASIBLE")
end
