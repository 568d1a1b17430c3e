using GridpactCompute: KINDS, MsgPack, ProbeInput, ProbeResult, compute_body, knows_kind, pack, unpack, warm_up

quiet(fraction, stage; known...) = nothing

@testset "every kind of the contract is computed" begin
    for (name, types) in KINDS
        @test knows_kind(name)
        @test hasmethod(GridpactCompute.compute, Tuple{types.input,Function})
    end
    @test !knows_kind("weather")
    @test refusal(() -> compute_body("weather", UInt8[0x80], quiet)) == "KIND_UNKNOWN"
end

@testset "a probe holds as long and answers as much as asked" begin
    result = unpack(ProbeResult, compute_body("probe", pack(ProbeInput(30, 5)), quiet))
    @test result.padding == "xxxxx"
    @test 30 <= result.held_ms < 3000
    @test unpack(ProbeResult, compute_body("probe", UInt8[0x80], quiet)).padding == ""
end

@testset "an input that breaks its contract is refused with every violation" begin
    @test refusal(() -> compute_body("probe", MsgPack.pack((hold_ms = -1,)), quiet)) == "INVALID_ARGUMENT"
    @test refusal(() -> compute_body("dispatch", UInt8[0x80], quiet)) == "INVALID_ARGUMENT"
    @test refusal(() -> compute_body("dispatch", UInt8[0xc1], quiet)) == "MESSAGE_MALFORMED"
end

@testset "warming up takes every path without an error" begin
    @test warm_up() === nothing
end
