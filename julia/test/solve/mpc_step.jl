using GridpactCompute: MpcStepInput, MpcStepResult, RESULT, Result, TaskMessage, WARM_MODELS, answer, compute,
    pack, read_link, under!, unpack

mpc_step(problem; id = "Home", control_slots = 1) = compute(MpcStepInput(id, problem, control_slots), ignore)

@testset "the second step starts from the first" begin
    empty!(WARM_MODELS)
    problem = GridpactCompute.rehearsal_house()
    plan = compute(problem, ignore)
    first_step, second_step = mpc_step(problem), mpc_step(problem)
    @test !first_step.warm && second_step.warm
    @test !mpc_step(problem; id = "Another").warm
    for step in (first_step, second_step)
        @test isapprox(step.cost, plan.cost; rtol = 1e-9)
        @test step.plan.cost == step.cost
        @test step.solve_ms > 0
    end
    # A worker that has lost its models.
    empty!(WARM_MODELS)
    @test !mpc_step(problem).warm
end

@testset "set-points are the plan's first slots, and say what is free" begin
    result = mpc_step(GridpactCompute.rehearsal_estate(); control_slots = 2)
    plan = result.plan
    lists = (plan.batteries, plan.pv, plan.flexible_loads, plan.cycles, plan.electric_vehicles, plan.heat_pumps, plan.generators)
    plans = [its for list in lists for its in list]
    @test [points.name for points in result.set_points] == [its.name for its in plans]
    @test all(points.power_kw == its.power_kw[1:2] for (points, its) in zip(result.set_points, plans))
    @test [its.name for its in result.reasons] == [its.name for its in plans]
    for (points, its) in zip(result.set_points, plans)
        @test (points.running !== nothing) == (its in plan.generators)
        @test (points.limited !== nothing) == (its in plan.pv)
        its in plan.pv && @test points.limited == [why != "FULL_OUTPUT" for why in its.reasons[1:2]]
    end
end

@testset "a step that fails names the problem's fields and leaves nothing behind" begin
    empty!(WARM_MODELS)
    good, bad = GridpactCompute.rehearsal_house(), GridpactCompute.rehearsal_house(max_import_kw = 0.1, on_conflict = "FAIL")
    mpc_step(good)
    err = try mpc_step(bad) catch problem; problem end
    @test err.reason == "INFEASIBLE"
    @test all(startswith(v.field, "problem.") for v in err.violations) && !isempty(err.violations)
    @test !mpc_step(good).warm
    relaxed = mpc_step(GridpactCompute.rehearsal_house(max_import_kw = 0.1))
    @test relaxed.plan.status == "RELAXED"
end

@testset "two organisations with a controller of the same name have a model each" begin
    empty!(WARM_MODELS)
    body = pack(MpcStepInput("Home", GridpactCompute.rehearsal_house(), 1))
    function is_warm(affinity_key)
        link = IOBuffer()
        answer(link, pack(TaskMessage(task_id = "01981f6e-7c00-7000-8000-000000000004", kind = "mpc-step", attempt = 1,
            fencing_token = 1, remaining_ms = 60_000, encoding = "identity", body = body, affinity_key = affinity_key)))
        tag, payload = read_link(seekstart(link))
        while tag != RESULT
            tag, payload = read_link(link)
        end
        return unpack(MpcStepResult, unpack(Result, payload).body).warm
    end
    @test [is_warm(key) for key in ("one", "another", "one", "another")] == [false, false, true, true]
    under!(WARM_MODELS, nothing)
end
