# Models that a worker keeps between tasks, so that a step of a controller need not build its own.

"""
    WarmModels(most)

Models by key, at most `most` of them: the one used longest ago makes room. A model is whatever has a
method of `close`. It must not matter whether one is here: a worker is replaced at any time, and the
next task of the same key may go to another. `under!` says whose keys they are: what is kept under one
affinity key is not found under another.
"""
mutable struct WarmModels
    most::Int
    kept::Vector{Pair{String,Any}}       # used last at the end
    affinity_key::String
end
WarmModels(most::Int) = WarmModels(most, Pair{String,Any}[], "")

"Those of this worker, for any kind; a key begins with the name of its kind."
const WARM_MODELS = WarmModels(8)

"From now on, take and keep for tasks with this affinity key; `nothing` for those that have none."
under!(models::WarmModels, affinity_key) =
    (models.affinity_key = affinity_key === nothing ? "" : affinity_key; models)

"""
    take!(models, key) -> model or nothing

Take a model out. Put it back with `keep!` when its task has succeeded: one that failed halfway through
a change is better forgotten.
"""
function Base.take!(models::WarmModels, key::String)
    full_key = models.affinity_key * " " * key
    at = findfirst(entry -> entry.first == full_key, models.kept)
    at === nothing && return nothing
    model = models.kept[at].second
    deleteat!(models.kept, at)
    return model
end

"Keep a model under `key`, instead of what was kept there."
function keep!(models::WarmModels, key::String, model)
    replaced = take!(models, key)
    replaced === nothing || replaced === model || close(replaced)
    push!(models.kept, Pair{String,Any}(models.affinity_key * " " * key, model))
    length(models.kept) > models.most && close(popfirst!(models.kept).second)
    return nothing
end

"Forget every model, as when memory is short."
function Base.empty!(models::WarmModels)
    while !isempty(models.kept)
        close(pop!(models.kept).second)
    end
    return models
end
