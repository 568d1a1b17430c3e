using GridpactCompute: LinearProgram, column_count, constraint!, row_count, variable!

@testset "columns are written as compressed sparse columns" begin
    lp = LinearProgram()
    first_row, second_row = constraint!(lp, 1.0, 2.0), constraint!(lp, -Inf, 3.0)
    x = variable!(lp, 0.0, 5.0, 7.0, (first_row => 1.5, second_row => -1.0))
    y = variable!(lp, -1.0, Inf, 0.0, ())
    z = variable!(lp, 0.0, 1.0, 2.0, [second_row => 4.0]; is_integer = true)
    @test (x, y, z) == (1, 2, 3)
    @test (column_count(lp), row_count(lp)) == (3, 2)
    @test lp.start == [0, 2, 2, 3]
    @test lp.row == [0, 1, 1]
    @test lp.coefficient == [1.5, -1.0, 4.0]
    @test lp.cost == [7.0, 0.0, 2.0]
    @test lp.is_integer == [false, false, true]
    @test (lp.row_lower, lp.row_upper) == ([1.0, -Inf], [2.0, 3.0])
end

@testset "a term in row 0 is left out" begin
    lp = LinearProgram()
    row = constraint!(lp, 0.0, 0.0)
    variable!(lp, 0.0, 1.0, 0.0, (0 => 9.0, row => 1.0, 0 => 9.0))
    @test lp.coefficient == [1.0]
end
