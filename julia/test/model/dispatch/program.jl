using GridpactCompute: Choices, column_count, dispatch_problem, fix!, formulate, row_count, slots

@testset "the program of batteries and PV has the size that the formulation says" begin
    for seed in 1:20
        problem = dispatch_problem(any_site(Dice(seed)))
        T, B = slots(problem), length(problem.input.batteries)
        program = formulate(problem)
        @test column_count(program.lp) == (3 + 3B) * T
        @test row_count(program.lp) == (1 + B) * T
        @test length(program.lp.row) == (3 + 6B) * T - B
        @test !any(program.lp.is_integer)
        decided = formulate(problem, Choices(fill(true, T), [fill(true, T) for _ in 1:B]))
        @test count(decided.lp.is_integer) == (1 + B) * T
        @test row_count(decided.lp) == (1 + B) * T + 2 * (1 + B) * T
    end
end

@testset "only what the formulation names has binaries" begin
    for seed in 1:200
        input = any_input(Dice(seed))
        T, binaries = input.slots, 0
        for its in input.flexible_loads
            its.min_power_kw > 0 && (binaries += its.end_slot - its.start_slot)
        end
        for its in input.cycles
            binaries += its.end_slot - its.start_slot - length(its.power_kw) + 1
        end
        for its in input.electric_vehicles, stay in its.stays
            its.min_charge_power_kw > 0 && (binaries += stay.end_slot - stay.start_slot)
        end
        binaries += T * count(its -> its.min_power_kw > 0, input.heat_pumps)
        binaries += T * count(its -> its.min_power_kw + its.no_load_cost_per_h + its.start_cost +
            its.min_up_duration_s + its.min_down_duration_s > 0, input.generators)
        tiers = input.tariff.import_tiers
        if tiers !== nothing
            left = [tier for (k, tier) in enumerate(tiers.tiers) if k == length(tiers.tiers) ||
                tiers.tiers[k+1].from_energy_kwh > tiers.imported_energy_kwh]
            surcharges_left = [tier.surcharge_per_kwh for tier in left]
            left[1].from_energy_kwh > tiers.imported_energy_kwh && pushfirst!(surcharges_left, 0.0)
            issorted(surcharges_left) || (binaries += length(surcharges_left) - 1)
        end
        @test count(formulate(dispatch_problem(input)).lp.is_integer) == binaries
    end
end

@testset "what is chosen is said by bounds, and leaves a linear program" begin
    problem = dispatch_problem(any_site(Dice(1); batteries = 1))
    T = slots(problem)
    program = formulate(problem, Choices(fill(true, T), [fill(true, T)]))
    site, value = program.sites[1], zeros(column_count(program.lp))
    value[site.storages[1].switch.binary] .= 1.0
    fix!(program, value)
    upper = program.lp.upper
    @test !any(program.lp.is_integer)
    @test all(==(0.0), upper[site.grid.import_]) && upper[site.grid.export_] == problem.max_export_kw
    @test all(==(0.0), upper[site.storages[1].discharge])
    @test upper[site.storages[1].charge] == fill(problem.input.batteries[1].battery.max_charge_power_kw, T)
    bound = Set(vcat(site.grid.switch.most_row, site.grid.switch.opposite_row))
    @test all(isinf(program.lp.row_upper[row]) for row in bound)
end
