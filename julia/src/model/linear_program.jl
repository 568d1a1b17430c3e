"""
A mixed-integer linear program, grown column by column: the compressed sparse columns that a solver
reads are written directly, nothing is converted afterwards.

    minimise  Σ cost[j] x[j]   with   row_lower ≤ A x ≤ row_upper,   lower ≤ x ≤ upper
"""
struct LinearProgram
    cost::Vector{Float64}
    lower::Vector{Float64}
    upper::Vector{Float64}
    is_integer::Vector{Bool}
    start::Vector{Int32}       # column j owns entries start[j] + 1 to start[j + 1]
    row::Vector{Int32}         # zero-based, as the solver wants them
    coefficient::Vector{Float64}
    row_lower::Vector{Float64}
    row_upper::Vector{Float64}
end

LinearProgram() = LinearProgram(Float64[], Float64[], Float64[], Bool[], Int32[0], Int32[],
    Float64[], Float64[], Float64[])

column_count(lp::LinearProgram) = length(lp.cost)
row_count(lp::LinearProgram) = length(lp.row_lower)

"Announce the final size, so that nothing is moved while the program grows."
function Base.sizehint!(lp::LinearProgram, columns, rows, entries)
    foreach(v -> sizehint!(v, columns), (lp.cost, lp.lower, lp.upper, lp.is_integer, lp.start))
    foreach(v -> sizehint!(v, entries), (lp.row, lp.coefficient))
    foreach(v -> sizehint!(v, rows), (lp.row_lower, lp.row_upper))
    return lp
end

"Add the row `lower ≤ … ≤ upper`; columns name it by the index returned."
function constraint!(lp::LinearProgram, lower, upper)
    push!(lp.row_lower, lower)
    push!(lp.row_upper, upper)
    return row_count(lp)
end

"Add the row `… = value`."
equation!(lp::LinearProgram, value) = constraint!(lp, value, value)

"Add `count` rows `lower ≤ … ≤ upper`."
function constraints!(lp::LinearProgram, count::Int, lower, upper)
    first = row_count(lp) + 1
    for _ in 1:count
        constraint!(lp, lower, upper)
    end
    return first:row_count(lp)
end

"""
    variable!(lp, lower, upper, cost) -> index

Add a variable. `term!` then says which rows it is part of, until the next one is added.
"""
function variable!(lp::LinearProgram, lower, upper, cost)
    push!(lp.cost, cost)
    push!(lp.lower, lower)
    push!(lp.upper, upper)
    push!(lp.is_integer, false)
    push!(lp.start, length(lp.row))
    return column_count(lp)
end

"""
A program written down row by row, term by term; `linear_program` sorts it into columns. For problems
whose rows outnumber what one column could name at once.
"""
struct RowProgram
    cost::Vector{Float64}
    lower::Vector{Float64}
    upper::Vector{Float64}
    is_integer::Vector{Bool}
    row_lower::Vector{Float64}
    row_upper::Vector{Float64}
    row::Vector{Int32}         # of each term; one-based here
    column::Vector{Int32}
    coefficient::Vector{Float64}
end

RowProgram() = RowProgram(Float64[], Float64[], Float64[], Bool[], Float64[], Float64[], Int32[],
    Int32[], Float64[])

"Add the variable `lower ≤ x ≤ upper`; terms name it by the index returned."
function variable!(program::RowProgram, lower, upper, cost; is_integer::Bool = false)
    push!(program.cost, cost)
    push!(program.lower, lower)
    push!(program.upper, upper)
    push!(program.is_integer, is_integer)
    return length(program.cost)
end

"Add the row `lower ≤ … ≤ upper`; terms name it by the index returned."
function constraint!(program::RowProgram, lower, upper)
    push!(program.row_lower, lower)
    push!(program.row_upper, upper)
    return length(program.row_lower)
end

"Add `coefficient · x[column]` to a row that does not have this column yet."
function term!(program::RowProgram, row::Int, column::Int, coefficient::Float64)
    coefficient == 0.0 && return nothing
    push!(program.row, row)
    push!(program.column, column)
    push!(program.coefficient, coefficient)
    return nothing
end

"The same program by columns, each with its terms in the order of their rows."
function linear_program(program::RowProgram)
    columns, entries = length(program.cost), length(program.row)
    start = zeros(Int32, columns + 1)
    for column in program.column
        start[column+1] += 1
    end
    cumsum!(start, start)
    next, row, coefficient = start[1:columns], zeros(Int32, entries), zeros(entries)
    for entry in sortperm(program.row; alg = MergeSort)
        place = next[program.column[entry]] += Int32(1)
        row[place] = program.row[entry] - 1
        coefficient[place] = program.coefficient[entry]
    end
    return LinearProgram(program.cost, program.lower, program.upper, program.is_integer, start, row,
        coefficient, program.row_lower, program.row_upper)
end

"A variable that is 0 or 1."
function binary!(lp::LinearProgram, cost)
    j = variable!(lp, 0.0, 1.0, cost)
    lp.is_integer[j] = true
    return j
end

"The variable added last contributes `coefficient` to `row`; row 0 stands for none."
function term!(lp::LinearProgram, row::Int, coefficient::Float64)
    row == 0 && return nothing
    push!(lp.row, row - 1)
    push!(lp.coefficient, coefficient)
    lp.start[end] = length(lp.row)
    return nothing
end

"""
    variable!(lp, lower, upper, cost, terms; is_integer = false) -> index

The same with all its terms at once, `row => coefficient` for every row it is part of.
"""
function variable!(lp::LinearProgram, lower, upper, cost, terms; is_integer::Bool = false)
    j = variable!(lp, lower, upper, cost)
    lp.is_integer[j] = is_integer
    for (row, coefficient) in terms
        term!(lp, row, coefficient)
    end
    return j
end
