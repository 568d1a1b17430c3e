using GridpactCompute: DispatchProblem, PlannedBattery, Violation, solve_dispatch

"The error that a problem without a plan is refused with."
function conflict(problem)
    try
        solve_dispatch(problem)
    catch err
        err isa ContractError || rethrow()
        return err
    end
    error("there is a plan")
end

fields(err) = [v.field for v in err.violations]

battery(; initial = 1.0, final = nothing, power = 2.0) =
    PlannedBattery(0.0, 10.0, power, power, 1.0, 1.0, 0.0, initial, final)

site(load_kw; max_import_kw = 3.0, max_export_kw = 3.0, batteries = PlannedBattery[]) = DispatchProblem(1.0,
    fill(0.3, length(load_kw)), fill(0.1, length(load_kw)), load_kw, zeros(length(load_kw)),
    max_import_kw, max_export_kw, batteries)

@testset "a load above the import limit names the limit that would do, and where" begin
    err = conflict(site([1.0, 2.0, 4.5, 4.0]))
    @test err.reason == "INFEASIBLE"
    @test fields(err) == ["grid.max_import_power_kw"]
    @test err.violations[1].rule == "feasible"
    @test err.violations[1].message == "must be at least 4.5; it is 3 (slot 2)"
end

@testset "PV that cannot be curtailed names the export limit" begin
    err = conflict(site([-1.0, -5.25]))
    @test fields(err) == ["grid.max_export_power_kw"]
    @test startswith(err.violations[1].message, "must be at least 5.25; it is 3")
end

@testset "a final energy out of reach names itself and the limit in its way" begin
    # 3 kW of import less 2 kW of load leaves 1 kW to charge with: 3 kWh by the end, not 6.
    err = conflict(site(fill(2.0, 2); batteries = [battery(final = 5.0)]))
    @test fields(err) == ["grid.max_import_power_kw", "batteries[0].final_energy_kwh"]
    @test startswith(err.violations[1].message, "must be at least 4; it is 3")
    @test err.violations[2].message == "must be at most 3; it is 5"
    @test occursin(", or batteries[0]", err.message)
end

@testset "what is needed together is named together" begin
    # The import limit is below the load of slot 0, and the battery's own power cannot fill it.
    err = conflict(site([9.0, 0.0]; batteries = [battery(initial = 0.0, final = 9.0)]))
    @test sort(fields(err)) == ["batteries[0].final_energy_kwh", "grid.max_import_power_kw"]
    @test occursin(" and ", err.message) && !occursin(", or ", err.message)
end

@testset "changing what the answer names makes a plan" begin
    number(violation, pattern) = parse(Float64, match(pattern, violation.message).captures[1])
    tried = 0
    for seed in 1:400
        problem = any_problem(Dice(seed); odd = false)
        plan_or_nothing(problem) === nothing || continue
        err = conflict(problem)
        tried += 1
        import_kw, export_kw, batteries = problem.max_import_kw, problem.max_export_kw, copy(problem.batteries)
        # Each kind of limit is a way out of its own, unless all of them are needed.
        kinds = unique(first(split(field, '.')) == "grid" for field in fields(err))
        for violation in err.violations
            is_grid = startswith(violation.field, "grid")
            occursin(", or ", err.message) && is_grid != first(kinds) && continue
            limit = number(violation, r"must be at (?:least|most) ([0-9.e-]+)")
            if violation.field == "grid.max_import_power_kw"
                import_kw = limit
            elseif violation.field == "grid.max_export_power_kw"
                export_kw = limit
            else
                b = 1 + number(Violation("", "", violation.field), r"\[([0-9]+)\]") |> Int
                batteries[b] = with_final(batteries[b], limit)
            end
        end
        mended = DispatchProblem(problem.slot_h, problem.import_price, problem.export_price, problem.load_kw,
            problem.curtailable_kw, import_kw, export_kw, batteries)
        @test plan_or_nothing(mended) !== nothing
    end
    @test tried > 10
end
