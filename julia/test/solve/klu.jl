using GridpactCompute: Klu
using LinearAlgebra: I

"A random diagonally heavy matrix by rows, and the same dense."
function any_matrix(dice, n)
    dense = [i == j ? 4.0 + roll(dice, 0.0, 1.0) : roll(dice, 1:3) == 1 ? roll(dice, -1.0, 1.0) : 0.0 for i in 1:n, j in 1:n]
    start, column, value = Int32[0], Int32[], Float64[]
    for i in 1:n
        for j in n:-1:1                   # not sorted
            dense[i, j] == 0 || (push!(column, j - 1); push!(value, dense[i, j]))
        end
        push!(start, length(column))
    end
    return dense, start, column, value
end

@testset "both libraries solve, and solve transposed" begin
    dice = Dice(3)
    for n in (1, 2, 30), make in (Klu.factors, Klu.UmfpackFactors)
        dense, start, column, value = any_matrix(dice, n)
        factors = make(start, column)
        right = [roll(dice, -1.0, 1.0) for _ in 1:n]
        @test Klu.factor!(factors, value)
        @test dense * Klu.solve!(factors, copy(right)) ≈ right
        @test dense' * Klu.solve_transposed!(factors, copy(right)) ≈ right
        @test Klu.refactor!(factors, 2 .* value)
        @test 2dense * Klu.solve!(factors, copy(right)) ≈ right
        close(factors)
    end
end

@testset "pivots that have become bad are chosen anew" begin
    start, column = Int32[0, 2, 4], Int32[0, 1, 0, 1]
    factors = Klu.factors(start, column)
    @test Klu.refactor!(factors, [4.0, 1.0, 1.0, 4.0])
    @test Klu.refactor!(factors, [1e-14, 1.0, 1.0, 1.0])
    @test Klu.solve!(factors, [1.0, 2.0]) ≈ [1e-14 1.0; 1.0 1.0] \ [1.0, 2.0] rtol = 1e-12
    @test !Klu.factor!(factors, [1.0, 1.0, 1.0, 1.0])
    close(factors)
end
