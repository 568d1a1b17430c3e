using GridpactCompute: Shapes, Violation

"The rules that a value breaks."
function rules_broken(shape, value)
    found = Violation[]
    Shapes.check!(found, shape, value, "x")
    return [v.rule for v in found]
end

@testset "numbers keep their bounds, inclusive or not" begin
    shape = Shapes.Numeric(minimum = 0, below = 10)
    @test rules_broken(shape, 0) == rules_broken(shape, 9.99) == String[]
    @test rules_broken(shape, -1) == ["minimum"]
    @test rules_broken(shape, 10) == ["exclusive-maximum"]
    @test rules_broken(Shapes.Numeric(above = 0), 0) == ["exclusive-minimum"]
    for wrong in (true, "1", nothing, NaN)
        @test rules_broken(shape, wrong) == ["type"]
    end
    whole = Shapes.Numeric(whole = true)
    @test rules_broken(whole, 51.0) == String[]
    @test rules_broken(whole, 51.5) == ["type"]
end

@testset "texts are measured in characters and matched to their end" begin
    @test rules_broken(Shapes.Text(max_length = 3), "äöü") == String[]
    @test rules_broken(Shapes.Text(max_length = 3), "äöüß") == ["max-length"]
    @test rules_broken(Shapes.Text(pattern = "^[a-z]+\$"), "abc\n") == ["pattern"]
    @test rules_broken(Shapes.Text(choices = ["a", "b"]), "c") == ["enum"]
end

@testset "series keep bounds and counts in every form" begin
    shape = Shapes.Series(min_items = 1, max_items = 2, minimum = 0.0)
    for values in ([1.0], Any[1], collect(reinterpret(UInt8, [1.0])))
        @test rules_broken(shape, values) == String[]
    end
    @test rules_broken(shape, Float64[]) == ["min-items"]
    @test rules_broken(shape, [1.0, 2.0, 3.0]) == ["max-items"]
    @test rules_broken(shape, [1.0, -1.0]) == ["minimum"]
    @test rules_broken(shape, Any[1, "2"]) == ["type"]
    @test rules_broken(shape, "1") == ["type"]
end
