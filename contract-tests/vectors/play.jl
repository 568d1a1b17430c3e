# Julia's side of the golden vectors; test_vectors.py is Python's.
#
#     julia --project=julia contract-tests/vectors/play.jl

using GridpactCompute: GridpactCompute, ContractError, LIMITS, pack, unpack
using Test

function as_bytes(text)
    bytes = UInt8[]
    for run in split(text, ' ')
        hex, count = occursin('*', run) ? split(run, '*') : (run, "1")
        append!(bytes, repeat(hex2bytes(hex), parse(Int, count)))
    end
    return bytes
end

"What an implementation says of the bytes: (\"accept\", \"\", bytes again) or (reason, violations, none)."
function verdict(T, bytes)
    try
        return ("accept", String[], pack(unpack(T, bytes; limits = LIMITS)))
    catch problem
        problem isa ContractError || rethrow()
        return (problem.reason, sort!(["$(v.field):$(v.rule)" for v in problem.violations]), UInt8[])
    end
end

@testset "$file" for file in filter(endswith(".tsv"), readdir(@__DIR__))
    T = getfield(GridpactCompute, Symbol(first(splitext(file))))
    for line in eachline(joinpath(@__DIR__, file))
        name, expected, violations, data, again = split(line, '\t')
        bytes = as_bytes(data)
        found = verdict(T, bytes)
        wanted = (
            String(expected),
            sort!(String.(split(violations, ';'; keepempty = false))),
            again == "=" ? bytes : as_bytes(again),
        )
        found == wanted || @info "vector" file name found[1:2] wanted[1:2]
        @test found == wanted
        if name == "valid"
            # No proper prefix of a valid message is one.
            @test all(verdict(T, bytes[1:n])[1] == "MESSAGE_MALFORMED" for n in 0:length(bytes)-1)
        end
    end
end
