"""
HiGHS by its C API (https://ergo-code.github.io/HiGHS/). One process solves one program at a time.

The library is the one named by `GRIDPACT_LIBHIGHS`, or else the system's.
"""
module Highs

using Libdl
import ..LinearProgram, ..column_count, ..row_count, ..ContractError

"Entry points of the library, looked up once a process."
const ENTRY = Dict{Symbol,Ptr{Cvoid}}()

function entry(name::Symbol)
    return get!(ENTRY, name) do
        configured = get(ENV, "GRIDPACT_LIBHIGHS", "")
        path = isempty(configured) ? Libdl.find_library(["libhighs.so.1", "libhighs"]) : configured
        isempty(path) && error("no HiGHS library found; set GRIDPACT_LIBHIGHS")
        Libdl.dlsym(Libdl.dlopen(path), name)
    end
end

version() = unsafe_string(ccall(entry(:Highs_version), Cstring, ()))

# Constants of highs_c_api.h
const STATUS_ERROR = Int32(-1)
const COLUMN_WISE = Int32(1)
const MINIMISE = Int32(1)
const CONTINUOUS, INTEGER = Int32(0), Int32(1)
const FEASIBLE_POINT = Int32(2)
const MODEL_STATUS = Dict{Int32,Symbol}(
    0 => :not_set, 1 => :load_error, 2 => :model_error, 3 => :presolve_error, 4 => :solve_error,
    5 => :postsolve_error, 6 => :model_empty, 7 => :optimal, 8 => :infeasible,
    9 => :unbounded_or_infeasible, 10 => :unbounded, 11 => :objective_bound,
    12 => :objective_target, 13 => :time_limit, 14 => :iteration_limit, 15 => :unknown,
    16 => :solution_limit, 17 => :interrupt)

"""
What the solver found. `status` is `:optimal`, `:infeasible`, `:time_limit` or another name of
`MODEL_STATUS`. Values are there when `has_plan`; duals (change of the minimum per unit of right-hand
side or bound) only for programs without integers. `bound` is what no plan can undercut, as far as
proven: `-Inf` where nothing is. `relative_gap` is the absolute one where the plan costs nothing.
"""
struct Solution
    status::Symbol
    has_plan::Bool
    objective::Float64
    bound::Float64
    relative_gap::Float64
    value::Vector{Float64}
    reduced_cost::Vector{Float64}
    row_dual::Vector{Float64}
end

"The same plan, with what else has become known."
with_bound(its::Solution, status::Symbol, bound::Float64) = Solution(status, its.has_plan, its.objective,
    bound, its.relative_gap, its.value, its.reduced_cost, its.row_dual)
with_objective(its::Solution, objective::Float64) = Solution(its.status, its.has_plan, objective, its.bound,
    its.relative_gap, its.value, its.reduced_cost, its.row_dual)

set_option(highs, name, value::Bool) = check(ccall(entry(:Highs_setBoolOptionValue), Int32,
    (Ptr{Cvoid}, Cstring, Int32), highs, name, value), name)
set_option(highs, name, value::Integer) = check(ccall(entry(:Highs_setIntOptionValue), Int32,
    (Ptr{Cvoid}, Cstring, Int32), highs, name, value), name)
set_option(highs, name, value::AbstractFloat) = check(ccall(entry(:Highs_setDoubleOptionValue),
    Int32, (Ptr{Cvoid}, Cstring, Float64), highs, name, value), name)
set_option(highs, name, value::AbstractString) = check(ccall(entry(:Highs_setStringOptionValue),
    Int32, (Ptr{Cvoid}, Cstring, Cstring), highs, name, value), name)

check(status::Int32, what) =
    status == STATUS_ERROR ? failed("HiGHS refuses $what") : nothing
failed(message) = throw(ContractError("SOLVER_FAILED", "", message))

function double_info(highs, name)
    value = Ref(0.0)
    check(ccall(entry(:Highs_getDoubleInfoValue), Int32, (Ptr{Cvoid}, Cstring, Ref{Float64}),
        highs, name, value), name)
    return value[]
end

function int_info(highs, name)
    value = Ref(Int32(0))
    check(ccall(entry(:Highs_getIntInfoValue), Int32, (Ptr{Cvoid}, Cstring, Ref{Int32}),
        highs, name, value), name)
    return value[]
end

# ---------------------------------------------------------------- what is known while it searches

const MIP_INTERRUPT = Int32(6)
"Ten reports a second at most."
const REPORT_INTERVAL_NS = UInt64(100_000_000)

"The first members of `HighsCallbackDataOut`, as far as they are read here."
struct CallbackData
    cbdata::Ptr{Cvoid}
    log_type::Cint
    running_time_s::Float64
    simplex_iteration_count::Int32
    ipm_iteration_count::Int32
    pdlp_iteration_count::Int32
    objective::Float64
    mip_node_count::Int64
    mip_total_lp_iterations::Int64
    mip_primal_bound::Float64
    mip_dual_bound::Float64
    mip_gap::Float64
end

"Who hears of the search; what it throws ends the search and is thrown again after it."
mutable struct Listener
    on_progress::Any
    next_ns::UInt64
    failure::Any                # nothing, or an exception
end

"""
Called by HiGHS some hundred times a second while it searches. With one thread, which `solve` asks
for, it is the thread that runs Julia: on any other one this Julia would crash.
"""
function hear(::Cint, ::Ptr{UInt8}, found::Ptr{CallbackData}, interrupt::Ptr{Cint}, data::Ptr{Cvoid})
    listener = unsafe_pointer_to_objref(data)::Listener
    if listener.failure === nothing && time_ns() >= listener.next_ns
        listener.next_ns = time_ns() + REPORT_INTERVAL_NS
        try
            now = unsafe_load(found)
            listener.on_progress(known(now.mip_primal_bound), known(now.mip_dual_bound),
                known(now.mip_gap))
        catch err
            listener.failure = err      # it must not unwind what is HiGHS's
        end
    end
    listener.failure === nothing || unsafe_store!(interrupt, Cint(1))
    return nothing
end

known(value::Float64) = isfinite(value) ? value : nothing

# ------------------------------------------------------------------------------------ models

"""
    Model(lp; whole_within = 1e-6, relaxed = false)

A program that stays in HiGHS: change it in place, and `solve!` it again from the basis that the last
time ended with. `close(model)` gives its memory back at once, the garbage collector some time.
`whole_within` is what an integer may miss of being whole; `relaxed`, none must be. Throws
`ContractError("SOLVER_FAILED")` when HiGHS does not take the program.
"""
mutable struct Model
    highs::Ptr{Cvoid}           # null when closed
    destroy::Ptr{Cvoid}         # looked up now: a finalizer must not
    column_count::Int
    row_count::Int
    is_mixed::Bool
    function Model(lp::LinearProgram; whole_within::Float64 = 1e-6, relaxed::Bool = false)
        model = new(ccall(entry(:Highs_create), Ptr{Cvoid}, ()), entry(:Highs_destroy),
            column_count(lp), row_count(lp), !relaxed && any(lp.is_integer))
        finalizer(abandon, model)
        set_option(model.highs, "output_flag", false)
        set_option(model.highs, "threads", 1)
        # The column bounds of linear programs leave presolve little to find here: without it they are
        # solved in about half the time. Branch and bound needs it, and so do relaxations.
        set_option(model.highs, "presolve", model.is_mixed || relaxed ? "on" : "off")
        set_option(model.highs, "mip_feasibility_tolerance", whole_within)
        set_option(model.highs, "solve_relaxation", relaxed)
        pass(model.highs, lp)
        return model
    end
end

function Base.close(model::Model)
    highs, model.highs = model.highs, C_NULL
    highs == C_NULL || ccall(model.destroy, Cvoid, (Ptr{Cvoid},), highs)
    return nothing
end

"Whether HiGHS is at work. Destroying any model takes the task scheduler away from the one that is solved."
const IS_RUNNING = Ref(false)

"""
What the garbage collector calls. It may be at work while HiGHS calls back in the middle of a run: then it
has to come again.
"""
abandon(model::Model) = IS_RUNNING[] ? finalizer(abandon, model) : close(model)

"The next `solve!` takes the program as it is: slower, but in no doubt of its bounds."
skip_presolve!(model::Model) = set_option(model.highs, "presolve", "off")

"The next search for integers begins with these values of the columns, where no limit forbids them."
function start_from!(model::Model, values::Vector{Float64})
    length(values) == model.column_count || throw(DimensionMismatch("the values of another model"))
    check(ccall(entry(:Highs_setSolution), Int32,
        (Ptr{Cvoid}, Ptr{Float64}, Ptr{Float64}, Ptr{Float64}, Ptr{Float64}),
        model.highs, values, C_NULL, C_NULL, C_NULL), "values to start from")
end

"The costs of the columns from `first` on become `costs`."
function change_costs!(model::Model, first::Int, costs::Vector{Float64})
    last = within(first, length(costs), model.column_count)
    check(ccall(entry(:Highs_changeColsCostByRange), Int32, (Ptr{Cvoid}, Int32, Int32, Ptr{Float64}),
        model.highs, first - 1, last - 1, costs), "a change of costs")
end

"The bounds of the columns from `first` on become `lower` and `upper`."
function change_bounds!(model::Model, first::Int, lower::Vector{Float64}, upper::Vector{Float64})
    last = within(first, length(lower), model.column_count, length(upper))
    check(ccall(entry(:Highs_changeColsBoundsByRange), Int32,
        (Ptr{Cvoid}, Int32, Int32, Ptr{Float64}, Ptr{Float64}),
        model.highs, first - 1, last - 1, lower, upper), "a change of bounds")
end

"The limits of the rows from `first` on become `lower` and `upper`."
function change_rows!(model::Model, first::Int, lower::Vector{Float64}, upper::Vector{Float64})
    last = within(first, length(lower), model.row_count, length(upper))
    check(ccall(entry(:Highs_changeRowsBoundsByRange), Int32,
        (Ptr{Cvoid}, Int32, Int32, Ptr{Float64}, Ptr{Float64}),
        model.highs, first - 1, last - 1, lower, upper), "a change of rows")
end

"What a column contributes to a row becomes `value`."
function change_coefficient!(model::Model, row::Int, column::Int, value::Float64)
    within(row, 1, model.row_count)
    within(column, 1, model.column_count)
    check(ccall(entry(:Highs_changeCoeff), Int32, (Ptr{Cvoid}, Int32, Int32, Float64),
        model.highs, row - 1, column - 1, value), "a change of a coefficient")
end

"The last of `count` indices from `first` on; HiGHS itself would read beyond a vector that is too short."
function within(first, count, limit, other_count = count)
    1 <= first && first + count - 1 <= limit && count == other_count ||
        throw(BoundsError(1:limit, first:first + max(count, other_count) - 1))
    return first + count - 1
end

"Where each column and row stood at the end: what the simplex method starts from."
struct Basis
    column::Vector{Int32}
    row::Vector{Int32}
end

"The basis that the last `solve!` ended with."
function basis(model::Model)
    found = Basis(zeros(Int32, model.column_count), zeros(Int32, model.row_count))
    check(ccall(entry(:Highs_getBasis), Int32, (Ptr{Cvoid}, Ptr{Int32}, Ptr{Int32}),
        model.highs, found.column, found.row), "to tell the basis")
    return found
end

"Start the next `solve!` from `start`, or from nothing: then it gives what a new model would."
function change_basis!(model::Model, start::Basis)
    (length(start.column), length(start.row)) == (model.column_count, model.row_count) ||
        throw(DimensionMismatch("the basis of another model"))
    check(ccall(entry(:Highs_setBasis), Int32, (Ptr{Cvoid}, Ptr{Int32}, Ptr{Int32}),
        model.highs, start.column, start.row), "the basis")
end
change_basis!(model::Model, ::Nothing) =
    check(ccall(entry(:Highs_clearSolver), Int32, (Ptr{Cvoid},), model.highs), "to start anew")

# ------------------------------------------------------------------------------------- time

"When the task at hand is stopped, by `time_ns`. A worker sets it; no run of HiGHS goes on beyond it."
const DEADLINE_NS = Ref(typemax(UInt64))
"How long the task at hand was given until then."
const GIVEN_S = Ref(0.0)
"Whether the deadline has left a run less time than it was told."
const CUT_SHORT = Ref(false)

"""
How long a run may take. A search for integers ends some time before the deadline, so that its best plan
can still be priced, explained and sent: that takes as long after the last of several searches as after the
first, so the time is a part of what the task was given, and not of what is left.
"""
function allowed_s(time_limit_s::Float64, is_mixed::Bool)
    DEADLINE_NS[] == typemax(UInt64) && return time_limit_s
    left_s = (Float64(DEADLINE_NS[]) - Float64(time_ns())) / 1e9
    reserve_s = is_mixed ? min(clamp(0.2 * GIVEN_S[], 0.3, 15.0), max(0.3, 0.5 * left_s)) :
        clamp(0.05 * left_s, 0.05, 1.0)
    CUT_SHORT[] |= left_s - reserve_s < time_limit_s
    return clamp(left_s - reserve_s, 1e-3, time_limit_s)
end

"""
    solve!(model; time_limit_s, relative_gap = 0.0, on_progress = nothing) -> Solution

Minimise. While HiGHS searches for integers, `on_progress(objective, bound, relative_gap)` hears ten
times a second of the best plan so far and of what no plan can undercut; each is `nothing` until it is
known. The deadline of the task ends it too, with the status `:time_limit`. Throws
`ContractError("SOLVER_FAILED")` when HiGHS fails, and whatever `on_progress` throws.
"""
function solve!(model::Model; time_limit_s::Float64, relative_gap::Float64 = 0.0,
        on_progress = nothing)
    model.highs == C_NULL && throw(ArgumentError("the model is closed"))
    set_option(model.highs, "time_limit", allowed_s(time_limit_s, model.is_mixed))
    set_option(model.highs, "mip_rel_gap", relative_gap)
    # The limit counts from when the clocks were last set to zero, not from the start of a run.
    check(ccall(entry(:Highs_zeroAllClocks), Int32, (Ptr{Cvoid},), model.highs), "to count time")
    GC.@preserve model begin
        on_progress === nothing || !model.is_mixed ? run(model.highs) : run(model.highs, on_progress)
        return solution(model)
    end
end

"""
    solve(lp; time_limit_s, relative_gap, on_progress = nothing, whole_within = 1e-6) -> Solution

Minimise a program once; see `Model` and `solve!`. Where HiGHS gives up, it tries again with presolve, or
without it.
"""
function solve(lp::LinearProgram; time_limit_s::Float64, relative_gap::Float64, on_progress = nothing,
        whole_within::Float64 = 1e-6)
    model = Model(lp; whole_within = whole_within)
    try
        run_once() = solve!(model; time_limit_s = time_limit_s, relative_gap = relative_gap,
            on_progress = on_progress)
        solution = run_once()
        solution.status in GAVE_UP || return solution
        change_basis!(model, nothing)
        set_option(model.highs, "presolve", model.is_mixed ? "off" : "on")
        return run_once()
    finally
        close(model)
    end
end

"How a run may end that says nothing of the program."
const GAVE_UP = (:not_set, :presolve_error, :solve_error, :postsolve_error, :iteration_limit, :unknown)

function run(highs)
    run_of_highs = entry(:Highs_run)
    IS_RUNNING[] = true
    status = ccall(run_of_highs, Int32, (Ptr{Cvoid},), highs)
    IS_RUNNING[] = false
    return check(status, "to solve the program")
end

function run(highs, on_progress)
    listener = Listener(on_progress, 0, nothing)
    GC.@preserve listener begin
        check(ccall(entry(:Highs_setCallback), Int32, (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Cvoid}), highs,
            @cfunction(hear, Cvoid, (Cint, Ptr{UInt8}, Ptr{CallbackData}, Ptr{Cint}, Ptr{Cvoid})),
            pointer_from_objref(listener)), "a callback")
        check(ccall(entry(:Highs_startCallback), Int32, (Ptr{Cvoid}, Int32), highs, MIP_INTERRUPT),
            "a callback")
        try
            run(highs)
        finally
            ccall(entry(:Highs_stopCallback), Int32, (Ptr{Cvoid}, Int32), highs, MIP_INTERRUPT)
        end
    end
    listener.failure === nothing || throw(listener.failure)
    return nothing
end

function pass(highs, lp::LinearProgram)
    columns, rows, entries = column_count(lp), row_count(lp), length(lp.row)
    if any(lp.is_integer)
        kinds = Int32[is_integer ? INTEGER : CONTINUOUS for is_integer in lp.is_integer]
        check(ccall(entry(:Highs_passMip), Int32,
            (Ptr{Cvoid}, Int32, Int32, Int32, Int32, Int32, Float64, Ptr{Float64}, Ptr{Float64},
             Ptr{Float64}, Ptr{Float64}, Ptr{Float64}, Ptr{Int32}, Ptr{Int32}, Ptr{Float64},
             Ptr{Int32}),
            highs, columns, rows, entries, COLUMN_WISE, MINIMISE, 0.0, lp.cost, lp.lower,
            lp.upper, lp.row_lower, lp.row_upper, lp.start, lp.row, lp.coefficient, kinds),
            "the program")
    else
        check(ccall(entry(:Highs_passLp), Int32,
            (Ptr{Cvoid}, Int32, Int32, Int32, Int32, Int32, Float64, Ptr{Float64}, Ptr{Float64},
             Ptr{Float64}, Ptr{Float64}, Ptr{Float64}, Ptr{Int32}, Ptr{Int32}, Ptr{Float64}),
            highs, columns, rows, entries, COLUMN_WISE, MINIMISE, 0.0, lp.cost, lp.lower,
            lp.upper, lp.row_lower, lp.row_upper, lp.start, lp.row, lp.coefficient),
            "the program")
    end
end

function solution(model::Model)
    highs = model.highs
    code = ccall(entry(:Highs_getModelStatus), Int32, (Ptr{Cvoid},), highs)
    status = get(MODEL_STATUS, code, :unknown)
    has_plan = status == :optimal || int_info(highs, "primal_solution_status") == FEASIBLE_POINT
    bound = model.is_mixed ? double_info(highs, "mip_dual_bound") :
            status == :optimal ? double_info(highs, "objective_function_value") : -Inf
    has_plan || return Solution(status, false, NaN, bound, NaN, Float64[], Float64[], Float64[])
    value, reduced_cost = zeros(model.column_count), zeros(model.column_count)
    activity, row_dual = zeros(model.row_count), zeros(model.row_count)
    check(ccall(entry(:Highs_getSolution), Int32,
        (Ptr{Cvoid}, Ptr{Float64}, Ptr{Float64}, Ptr{Float64}, Ptr{Float64}),
        highs, value, reduced_cost, activity, row_dual), "to tell the solution")
    objective = double_info(highs, "objective_function_value")
    gap = model.is_mixed ? double_info(highs, "mip_gap") : 0.0
    # Relative to a plan that costs nothing every gap is infinite: then it is the absolute one.
    isfinite(gap) || (gap = objective - bound)
    return Solution(status, true, objective, bound, gap, value, reduced_cost, row_dual)
end

end
