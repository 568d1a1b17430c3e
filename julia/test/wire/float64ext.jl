using GridpactCompute: all_finite, float64_from_bytes, float64_series

@testset "a series is its little-endian bytes" begin
    @test float64_from_bytes(UInt8[0, 0, 0, 0, 0, 0, 0xf0, 0x3f], 1, 8) == [1.0]
    @test float64_from_bytes(UInt8[0xff, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf, 0xff], 2, 8) == [-1.0]
    @test float64_from_bytes(UInt8[], 1, 0) == Float64[]
    @test refusal(() -> float64_from_bytes(zeros(UInt8, 9), 1, 9)) == "MESSAGE_MALFORMED"
end

@testset "one value that is not finite is found wherever it stands" begin
    for wrong in (NaN, -NaN, Inf, -Inf), count in (1, 7, 64, 1000), at in (1, (count + 1) ÷ 2, count)
        values = zeros(count)
        @test all_finite(values)
        values[at] = wrong
        @test !all_finite(values)
        @test refusal(() -> float64_from_bytes(collect(reinterpret(UInt8, values)), 1, 8count)) ==
              "MESSAGE_MALFORMED"
    end
    # A huge number is finite, and so are numbers whose sum is not.
    @test all_finite(fill(floatmax(), 100))
end

@testset "a series is read from each accepted form" begin
    @test float64_series([1.5], "x") == [1.5]
    @test float64_series(Any[1, 2.5], "x") == [1.0, 2.5]
    @test float64_series(collect(reinterpret(UInt8, [1.5, -2.0])), "x") == [1.5, -2.0]
    for wrong in (Any[1, "2"], Any[true], "text", 1.0, nothing)
        @test refusal(() -> float64_series(wrong, "x")) == "MESSAGE_MALFORMED"
    end
end
