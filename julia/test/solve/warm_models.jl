using GridpactCompute: WarmModels, keep!, under!

"A model that counts how often it was closed."
mutable struct Kept
    closed::Int
end
Base.close(model::Kept) = (model.closed += 1; nothing)

@testset "a model is taken as it was kept, once" begin
    models, model = WarmModels(2), Kept(0)
    @test take!(models, "a") === nothing
    keep!(models, "a", model)
    @test take!(models, "b") === nothing
    @test take!(models, "a") === model
    @test take!(models, "a") === nothing
    @test model.closed == 0
end

@testset "the one used longest ago makes room" begin
    models, kept = WarmModels(2), [Kept(0) for _ in 1:3]
    keep!(models, "a", kept[1])
    keep!(models, "b", kept[2])
    keep!(models, "a", take!(models, "a"))
    keep!(models, "c", kept[3])
    @test [model.closed for model in kept] == [0, 1, 0]
    @test take!(models, "b") === nothing && take!(models, "a") === kept[1]
end

@testset "a key has one model, and what it replaces is closed" begin
    models, old, new = WarmModels(2), Kept(0), Kept(0)
    keep!(models, "a", old)
    keep!(models, "a", old)
    @test old.closed == 0
    keep!(models, "a", new)
    @test (old.closed, new.closed) == (1, 0)
    @test empty!(models) === models
    @test new.closed == 1 && take!(models, "a") === nothing
end

@testset "what is kept under one affinity key is not found under another" begin
    models, ours, theirs = WarmModels(2), Kept(0), Kept(0)
    keep!(under!(models, "one"), "a", ours)
    @test take!(under!(models, "another"), "a") === nothing
    keep!(models, "a", theirs)
    @test take!(under!(models, nothing), "a") === nothing
    @test take!(under!(models, "one"), "a") === ours
    @test take!(under!(models, "another"), "a") === theirs
    @test ours.closed == theirs.closed == 0
end
