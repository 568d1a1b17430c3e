"""
Sparse linear systems by KLU (T. Davis, E. Palamadai, "Algorithm 907: KLU", ACM TOMS 2010), which is
made for circuits and power networks; by UMFPACK of the standard library where no KLU is found.

The library is the one named by `GRIDPACT_LIBKLU`, or else the one beside Julia, or the system's.
"""
module Klu

using Libdl
using LinearAlgebra: SingularException, ldiv!, lu, lu!
using SparseArrays: SparseMatrixCSC

"Entry points of libklu, and of libamd, which it needs itself."
struct Library
    path::String
    amd_order::Ptr{Cvoid}
    klu_defaults::Ptr{Cvoid}
    klu_analyze_given::Ptr{Cvoid}
    klu_factor::Ptr{Cvoid}
    klu_refactor::Ptr{Cvoid}
    klu_solve::Ptr{Cvoid}
    klu_tsolve::Ptr{Cvoid}
    klu_rcond::Ptr{Cvoid}
    klu_free_symbolic::Ptr{Cvoid}
    klu_free_numeric::Ptr{Cvoid}
end

const LIBRARY = Ref{Union{Nothing,Library}}(nothing)
const SOUGHT = Ref(false)

"The library, looked for once a process; nothing where there is none."
function library()
    SOUGHT[] && return LIBRARY[]
    SOUGHT[] = true
    configured = get(ENV, "GRIDPACT_LIBKLU", "")
    beside = joinpath(Sys.BINDIR, "..", "lib", "julia")
    names = ["libklu", "libklu.so.1", "libklu.so.2"]
    candidates = isempty(configured) ?
        [[joinpath(beside, name) for name in names]; names] : [configured]
    for candidate in candidates
        handle = dlopen_e(candidate)
        handle == C_NULL && continue
        entries = Ptr{Cvoid}[dlsym_e(handle, name) for name in fieldnames(Library)[2:end]]
        any(==(C_NULL), entries) && continue
        return LIBRARY[] = Library(dlpath(handle), entries...)
    end
    isempty(configured) || error("GRIDPACT_LIBKLU names no KLU library: $configured")
    return nothing
end


# Places in klu_common (klu.h, the same from 1.2 to 2.3), in bytes; the rest is left to klu_defaults.
const COMMON_BYTES = 512
const AT_BTF, AT_SCALE, AT_STATUS, AT_RCOND = 40, 48, 76, 112
const SINGULAR = Int32(1)

"""
    order(start, column) -> Vector{Int}

The rows of a symmetric pattern, counted from 1, in an order that keeps factors sparse (approximate
minimum degree). `start` and `column` as `factors` wants them.
"""
function order(start::Vector{Int32}, column::Vector{Int32})
    n, klu = length(start) - 1, library()
    # UMFPACK finds an order of its own.
    klu === nothing && return collect(1:n)
    found = zeros(Int32, n)
    # AMD_OK and AMD_OK_BUT_JUMBLED, as rows need not be sorted
    ccall(klu.amd_order, Cint, (Cint, Ptr{Int32}, Ptr{Int32}, Ptr{Int32}, Ptr{Cvoid}, Ptr{Cvoid}),
        n, start, column, found, C_NULL, C_NULL) in (0, 1) || error("AMD cannot order the matrix")
    return Int.(found) .+ 1
end

"""
The factors of a sparse matrix with a fixed pattern, given by ROWS: `column[start[i]+1:start[i+1]]` are
the columns of row i, both counted from 0. Freed with `close`, or by the garbage collector.
"""
mutable struct Factors
    start::Vector{Int32}
    column::Vector{Int32}
    library::Library
    common::Vector{UInt8}
    symbolic::Ptr{Cvoid}
    numeric::Ptr{Cvoid}
    rcond::Float64                        # of the last factorisation with a free choice of pivots
end

"""
    factors(start, column) -> Factors or UmfpackFactors

Room for the factors of a pattern whose rows are in a good order already (`order`): ordering what
the unknowns belong to takes a quarter of the time of ordering the unknowns. Nothing is factorised yet.
"""
function factors(start::Vector{Int32}, column::Vector{Int32})
    klu = library()
    klu === nothing && return UmfpackFactors(start, column)
    common = zeros(UInt8, COMMON_BYTES)
    ccall(klu.klu_defaults, Cint, (Ptr{UInt8},), common)
    poke!(common, AT_BTF, Int32(0))       # a connected network is one block
    poke!(common, AT_SCALE, Int32(-1))    # per unit is scaled
    # KLU works by columns: what it gets is the transposed matrix, and `solve!` transposes again.
    # Without unknowns (each bus is a slack) there is nothing to analyse, factorise or solve.
    n = length(start) - 1
    symbolic = n == 0 ? C_NULL : ccall(klu.klu_analyze_given, Ptr{Cvoid},
        (Cint, Ptr{Int32}, Ptr{Int32}, Ptr{Int32}, Ptr{Int32}, Ptr{UInt8}),
        n, start, column, C_NULL, C_NULL, common)
    n > 0 && symbolic == C_NULL && error("KLU cannot analyse the matrix: status $(status(common))")
    return finalizer(close, Factors(start, column, klu, common, symbolic, C_NULL, 0.0))
end

peek(::Type{T}, common::Vector{UInt8}, at::Int) where {T} =
    GC.@preserve common unsafe_load(Ptr{T}(pointer(common, at + 1)))
poke!(common::Vector{UInt8}, at::Int, value::T) where {T} =
    GC.@preserve common unsafe_store!(Ptr{T}(pointer(common, at + 1)), value)
status(common) = peek(Int32, common, AT_STATUS)

function Base.close(its::Factors)
    forget!(its)
    if its.symbolic != C_NULL
        symbolic = Ref(its.symbolic)
        ccall(its.library.klu_free_symbolic, Cint, (Ref{Ptr{Cvoid}}, Ptr{UInt8}), symbolic, its.common)
        its.symbolic = C_NULL
    end
    return nothing
end

"Free the numbers of the last factorisation; the pattern's analysis stays."
function forget!(its::Factors)
    its.numeric == C_NULL && return nothing
    numeric = Ref(its.numeric)
    ccall(its.library.klu_free_numeric, Cint, (Ref{Ptr{Cvoid}}, Ptr{UInt8}), numeric, its.common)
    its.numeric = C_NULL
    return nothing
end

"""
    factor!(factors, value) -> Bool

Factorise with a free choice of pivots. False when the matrix is singular.
"""
function factor!(its::Factors, value::Vector{Float64})
    forget!(its)
    isempty(its.column) && return true
    its.numeric = ccall(its.library.klu_factor, Ptr{Cvoid},
        (Ptr{Int32}, Ptr{Int32}, Ptr{Float64}, Ptr{Cvoid}, Ptr{UInt8}),
        its.start, its.column, value, its.symbolic, its.common)
    its.numeric == C_NULL && return false
    its.rcond = rcond(its)
    return its.rcond > 0
end

"""
    refactor!(factors, value) -> Bool

Factorise with the pivots of the last `factor!`, several times as fast. Where they have become bad
for these values (the smallest is a hundred times smaller beside the largest than it was), pivots are chosen anew.
"""
function refactor!(its::Factors, value::Vector{Float64})
    its.numeric == C_NULL && return factor!(its, value)
    good = ccall(its.library.klu_refactor, Cint,
        (Ptr{Int32}, Ptr{Int32}, Ptr{Float64}, Ptr{Cvoid}, Ptr{Cvoid}, Ptr{UInt8}),
        its.start, its.column, value, its.symbolic, its.numeric, its.common) != 0
    return good && rcond(its) >= 0.01 * its.rcond || factor!(its, value)
end

"An estimate of the reciprocal condition number: smallest by largest pivot; 0 when singular."
function rcond(its::Factors)
    ccall(its.library.klu_rcond, Cint, (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{UInt8}),
        its.symbolic, its.numeric, its.common)
    found = status(its.common) == SINGULAR ? 0.0 : peek(Float64, its.common, AT_RCOND)
    return isfinite(found) ? found : 0.0
end

"Solve in place: `right` becomes the solution."
function solve!(its::Factors, right::Vector{Float64})
    isempty(right) || ccall(its.library.klu_tsolve, Cint,
        (Ptr{Cvoid}, Ptr{Cvoid}, Cint, Cint, Ptr{Float64}, Ptr{UInt8}),
        its.symbolic, its.numeric, length(right), 1, right, its.common)
    return right
end

"The same with the transposed matrix."
function solve_transposed!(its::Factors, right::Vector{Float64})
    isempty(right) || ccall(its.library.klu_solve, Cint,
        (Ptr{Cvoid}, Ptr{Cvoid}, Cint, Cint, Ptr{Float64}, Ptr{UInt8}),
        its.symbolic, its.numeric, length(right), 1, right, its.common)
    return right
end

"The same by UMFPACK: several times slower, but part of every Julia."
mutable struct UmfpackFactors
    transposed::SparseMatrixCSC{Float64,Int}
    order::Vector{Int}                    # where each value goes, because UMFPACK wants sorted columns
    umfpack::Any
end

function UmfpackFactors(start::Vector{Int32}, column::Vector{Int32})
    n = length(start) - 1
    order = zeros(Int, length(column))
    for i in 1:n
        range = start[i]+1:start[i+1]
        order[range] = range[sortperm(column[range])]
    end
    matrix = SparseMatrixCSC(n, n, Int.(start) .+ 1, Int.(column[order]) .+ 1, ones(length(order)))
    return UmfpackFactors(matrix, order, nothing)
end

Base.close(::UmfpackFactors) = nothing

const AnyFactors = Union{Factors,UmfpackFactors}

function factor!(its::UmfpackFactors, value::Vector{Float64})
    isempty(its.order) && return true
    its.transposed.nzval .= view(value, its.order)
    try
        its.umfpack = its.umfpack === nothing ? lu(its.transposed) : lu!(its.umfpack, its.transposed)
        return true
    catch err
        err isa SingularException || rethrow()
        its.umfpack = nothing
        return false
    end
end

refactor!(its::UmfpackFactors, value::Vector{Float64}) = factor!(its, value)

solve!(its::UmfpackFactors, right::Vector{Float64}) = isempty(right) ? right :
    copyto!(right, ldiv!(similar(right), transpose(its.umfpack), right))
solve_transposed!(its::UmfpackFactors, right::Vector{Float64}) = isempty(right) ? right :
    copyto!(right, ldiv!(similar(right), its.umfpack, right))

end
