# What the tests share: where HiGHS is, dice that roll the same on every Julia, waiting for events.

using GridpactCompute: ContractError

# The platform says where its HiGHS is; a test run by hand takes the one of the clone's .venv.
function find_highs()
    haskey(ENV, "GRIDPACT_LIBHIGHS") && return
    for (folder, _, files) in walkdir(joinpath(@__DIR__, "..", "..", ".venv", "lib"))
        if endswith(folder, joinpath("highs_dist", "lib")) && "libhighs.so" in files
            ENV["GRIDPACT_LIBHIGHS"] = abspath(folder, "libhighs.so")
            return
        end
    end
end
find_highs()

"A xorshift generator: the standard library's streams differ between releases."
mutable struct Dice
    state::UInt64
end
Dice(seed::Integer) = Dice(UInt64(seed) * 0x9e3779b97f4a7c15 + 1)

function roll(dice::Dice)
    dice.state ⊻= dice.state << 13
    dice.state ⊻= dice.state >> 7
    dice.state ⊻= dice.state << 17
    return dice.state
end
"A whole number of `range`."
roll(dice::Dice, range::UnitRange) = first(range) + Int(roll(dice) % UInt64(length(range)))
"A number in `[low, high)`."
roll(dice::Dice, low::Float64, high::Float64) = low + (high - low) * (roll(dice) >> 11) / 2.0^53
roll(dice::Dice, choices::Union{Tuple,Vector}) = choices[roll(dice, 1:length(choices))]
roll_bytes(dice::Dice, count) = UInt8[roll(dice) & 0xff for _ in 1:count]

"The reason that `work()` is refused with, or nothing."
function refusal(work)
    try
        work()
        return nothing
    catch err
        err isa ContractError || rethrow()
        return err.reason
    end
end

"Wait until `condition()` holds; false when it does not within `timeout_s`."
eventually(condition; timeout_s = 120.0) = timedwait(condition, timeout_s; pollint = 0.005) == :ok
