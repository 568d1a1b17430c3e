# A linear program of a controller that stays in HiGHS from step to step.

"Columns or rows of one quantity, one a slot of `slots`; that of the first of them is `first`."
struct SlotBlock
    of::Tuple{Symbol,String}
    first::Int
    slots::UnitRange{Int}
end

"""
What a worker keeps of a controller: its last program, in HiGHS, and where in it each slot stands.
`start` is when its first slot begins, in slots since 1970; `used` says whether the last solution started
from what was kept.
"""
mutable struct WarmProgram
    model::Union{Highs.Model,Nothing}
    lp::LinearProgram
    columns::Vector{SlotBlock}
    rows::Vector{SlotBlock}
    start::Int
    used::Bool
end
WarmProgram() = WarmProgram(nothing, LinearProgram(), SlotBlock[], SlotBlock[], 0, false)

function Base.close(warm::WarmProgram)
    warm.model === nothing || close(warm.model)
    warm.model = nothing
    return nothing
end

"""
    solve!(warm, program; time_limit_s) -> Solution

Solve a linear program of one future. Where it has the matrix of the last one, only numbers change in
HiGHS; otherwise it is a new model. Either way the simplex method starts where the last one ended, each
slot from what was at its time. What is then not optimal is solved again from nothing, so that neither
status nor objective depend on what was kept.
"""
function solve!(warm::WarmProgram, program::DispatchProgram; time_limit_s::Float64)
    lp, site = program.lp, program.sites[1]
    columns, rows = slot_blocks(site)
    start = slots_since_1970(site.problem.input)
    model, warm.used = warm.model, warm.model !== nothing
    if model !== nothing && has_same_matrix(warm.lp, lp)
        Highs.change_costs!(model, 1, lp.cost)
        Highs.change_bounds!(model, 1, lp.lower, lp.upper)
        Highs.change_rows!(model, 1, lp.row_lower, lp.row_upper)
        if start != warm.start
            last = Highs.basis(model)
            Highs.change_basis!(model, Highs.Basis(
                carried!(copy(last.column), last.column, columns, warm.columns, start - warm.start),
                carried!(copy(last.row), last.row, rows, warm.rows, start - warm.start)))
        end
    else
        last = model === nothing ? nothing : Highs.basis(model)
        model === nothing || close(model)
        model = Highs.Model(lp)
        last === nothing || Highs.change_basis!(model, Highs.Basis(
            carried!(fill(NONBASIC, column_count(lp)), last.column, columns, warm.columns, start - warm.start),
            carried!(fill(BASIC, row_count(lp)), last.row, rows, warm.rows, start - warm.start)))
    end
    warm.model, warm.lp, warm.columns, warm.rows, warm.start = model, lp, columns, rows, start
    solution = Highs.solve!(model; time_limit_s = time_limit_s)
    warm.used && solution.status != :optimal || return solution
    warm.used = false
    Highs.change_basis!(model, nothing)
    return Highs.solve!(model; time_limit_s = time_limit_s)
end

has_same_matrix(one::LinearProgram, other::LinearProgram) =
    row_count(one) == row_count(other) && one.start == other.start && one.row == other.row &&
    one.coefficient == other.coefficient

# Of HighsBasisStatus
const BASIC, NONBASIC = Int32(1), Int32(4)

"""
Write into `status` what stood at the time of each slot in `last`, `passed` slots ago. After the end of
what was there, its last slot goes on.
"""
function carried!(status::Vector{Int32}, last::Vector{Int32}, blocks::Vector{SlotBlock},
        last_blocks::Vector{SlotBlock}, passed::Int)
    for block in blocks, there in last_blocks
        block.of == there.of || continue
        # Slot t of now was slot t + passed of then.
        for t in max(first(block.slots), first(there.slots) - passed):Base.last(block.slots)
            then = min(t + passed, Base.last(there.slots))
            status[block.first+t-first(block.slots)] = last[there.first+then-first(there.slots)]
        end
    end
    return status
end

"Where the quantities of a site stand that have a value in each slot: columns, and rows."
function slot_blocks(site::Site)
    columns, rows = SlotBlock[], SlotBlock[]
    every = 1:slots(site.problem)
    input = site.problem.input
    add(list, of, name, range, its_slots = every) =
        isempty(range) || push!(list, SlotBlock((of, name), first(range), its_slots))
    add(rows, :balance, "", site.balance)
    add(columns, :import_, "", site.grid.import_)
    add(columns, :export_, "", site.grid.export_)
    foreach(plants -> add(columns, :used, input.pv[plants.members[1]].name, plants.used), site.plants)
    for (storage, name) in zip(site.storages, storage_names(input))
        add(columns, :charge, name, storage.charge, storage.slots)
        add(columns, :discharge, name, storage.discharge, storage.slots)
        add(columns, :energy, name, storage.level.energy, storage.slots)
        add(rows, :energy, name, storage.level.rows, storage.slots)
    end
    for (load, its) in zip(site.flexible_loads, input.flexible_loads)
        add(columns, :flexible, its.name, load.power, load.slots)
    end
    for (pump, its) in zip(site.heat_pumps, input.heat_pumps)
        add(columns, :heat, its.name, pump.power)
        add(columns, :energy, its.name, pump.level.energy)
        add(rows, :energy, its.name, pump.level.rows)
    end
    for limit in site.group_limits
        add(rows, limit.factor > 0 ? :group_import : :group_export, input.groups[limit.group].name, limit.rows)
    end
    foreach(its -> add(rows, :deviation, its.name, its.rows, 1:length(its.rows)), site.deviations)
    return columns, rows
end

"The owner of each storage of a site: batteries, then vehicles once for each stay."
storage_names(input::DispatchInput) = String[
    String[item.name for item in input.batteries];
    String[vehicle.name for vehicle in input.electric_vehicles for _ in vehicle.stays]]

"How many slots have begun between 1970 and the start."
function slots_since_1970(input::DispatchInput)
    number(range) = parse(Int, SubString(input.start_time, range))
    year, month, day = number(1:4), number(6:7), number(9:10)
    # Years that begin in March, so that the leap day is the last: H. Hinnant, chrono-compatible date algorithms.
    year -= month <= 2
    day_of_year = div(153 * (month + (month > 2 ? -3 : 9)) + 2, 5) + day - 1
    days = 365 * year + fld(year, 4) - fld(year, 100) + fld(year, 400) + day_of_year - 719468
    return fld(86400 * days + 3600 * number(12:13) + 60 * number(15:16) + number(18:19), input.slot_duration_s)
end
