using GridpactCompute: MsgPack

malformed(bytes; options...) =
    refusal(() -> MsgPack.unpack(bytes; limits = MsgPack.Limits(; options...))) == "MESSAGE_MALFORMED"

"Any value that the codec has a form for, at most `depth` levels deep."
function any_value(dice, depth)
    kind = roll(dice, depth > 0 ? (1:9) : (1:7))
    kind == 1 && return nothing
    kind == 2 && return roll(dice, (true, false))
    kind == 3 && return roll(dice, (0, 127, 128, 255, 256, 65535, 65536, 2^32 - 1, 2^32, typemax(Int),
        -1, -32, -33, -128, -129, -32768, -32769, -2^31, -2^31 - 1, typemin(Int)))
    kind == 4 && return roll(dice, (0.0, -0.0, 1.5, 51.0, floatmax(), nextfloat(0.0), -1e-300))
    kind == 5 && return String(roll(dice, ['a', 'é', '漢', '🔋', '\0'], roll(dice, (0, 1, 31, 32, 255, 256))))
    kind == 6 && return roll_bytes(dice, roll(dice, (0, 1, 255, 256, 65536)))
    kind == 7 && return Float64[roll(dice, -1e6, 1e6) for _ in 1:roll(dice, (0, 1, 2, 31, 32, 8192))]
    kind == 8 && return Any[any_value(dice, depth - 1) for _ in 1:roll(dice, (0, 1, 15, 16, 20))]
    return Dict{String,Any}(string("key", i) => any_value(dice, depth - 1)
        for i in 1:roll(dice, (0, 1, 15, 16, 20)))
end
roll(dice::Dice, letters::Vector{Char}, count::Int) = Char[roll(dice, letters) for _ in 1:count]

same(a, b) = typeof(a) == typeof(b) && isequal(a, b)
same(a::Vector{Any}, b::Vector{Any}) = length(a) == length(b) && all(same.(a, b))
same(a::Dict, b::Dict) = keys(a) == keys(b) && all(same(a[key], b[key]) for key in keys(a))

@testset "what is packed is unpacked as it was, and packed again to the same bytes" begin
    dice = Dice(1)
    for _ in 1:500
        value = any_value(dice, 4)
        bytes = MsgPack.pack(value)
        @test same(MsgPack.unpack(bytes), value)
        @test MsgPack.pack(MsgPack.unpack(bytes)) == bytes
    end
end

@testset "random bytes are unpacked or refused, never anything else" begin
    dice = Dice(2)
    for _ in 1:5000
        bytes = roll_bytes(dice, roll(dice, 0:40))
        @test refusal(() -> MsgPack.unpack(bytes)) in (nothing, "MESSAGE_MALFORMED")
    end
    # Real messages with one byte wrong come closer to the edges.
    for _ in 1:5000
        bytes = MsgPack.pack(any_value(dice, 2))
        length(bytes) > 2000 && continue
        bytes[roll(dice, 1:length(bytes))] = roll(dice) & 0xff
        @test refusal(() -> MsgPack.unpack(bytes)) in (nothing, "MESSAGE_MALFORMED")
    end
end

@testset "numbers take their shortest form" begin
    @test MsgPack.pack(127) == [0x7f]
    @test MsgPack.pack(128) == [0xcc, 0x80]
    @test MsgPack.pack(-32) == [0xe0]
    @test MsgPack.pack(-33) == [0xd0, 0xdf]
    @test MsgPack.pack(typemax(UInt64)) == [0xcf; fill(0xff, 8)]
    @test MsgPack.unpack([0xcf; fill(0xff, 8)]) === typemax(UInt64)
    @test MsgPack.pack(51.0)[1] == 0xcb
    @test MsgPack.unpack(UInt8[0xca, 0x3f, 0xc0, 0x00, 0x00]) === 1.5
end

@testset "what the contract does not name is refused" begin
    @test malformed(UInt8[])
    @test malformed(UInt8[0xc1])
    @test malformed(UInt8[0x01, 0x02])                              # trailing byte
    @test malformed(UInt8[0xa1, 0xff])                              # no UTF-8
    @test malformed(UInt8[0xa3, 0xed, 0xa0, 0x80])                  # a surrogate
    @test malformed(UInt8[0x82, 0xa1, 0x61, 0x01, 0xa1, 0x61, 0x02])    # a key twice
    @test malformed(UInt8[0x81, 0x01, 0x01])                        # a key that is no text
    @test malformed(UInt8[0xd6, 0xff, 0, 0, 0, 0])                  # a timestamp
    @test malformed(UInt8[0xc7, 0x07, 0x01, 0, 0, 0, 0, 0, 0, 0])   # 7 bytes of doubles
    @test malformed(UInt8[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0])      # NaN
    @test malformed(UInt8[0xca, 0x7f, 0x80, 0, 0])                  # infinity
    for wrong in (NaN, Inf, [1.0, NaN], Any[-Inf], "\xff")
        @test refusal(() -> MsgPack.pack(wrong)) == "MESSAGE_MALFORMED"
    end
end

@testset "limits hold to the byte" begin
    nested(depth) = [fill(0x91, depth); 0xc0]
    @test MsgPack.unpack(nested(32)) isa Vector
    @test malformed(nested(33))
    @test MsgPack.unpack(MsgPack.pack("abc"); limits = MsgPack.Limits(max_text_bytes = 3)) == "abc"
    @test malformed(MsgPack.pack("abcd"); max_text_bytes = 3)
    @test malformed(MsgPack.pack(Any[1, 2, 3]); max_items = 2)
    @test malformed(MsgPack.pack((a = 1, b = 2, c = 3)); max_items = 2)
    # One array of three with one of two in it: five entries in all.
    for five in (MsgPack.pack(Any[1, Any[2, 3], 4]), MsgPack.pack((a = 1, b = (c = 2, d = 3), e = 4)))
        @test MsgPack.unpack(five; limits = MsgPack.Limits(max_values = 5)) !== nothing
        @test malformed(five; max_values = 4)
    end
    @test refusal(() -> MsgPack.unpack(zeros(UInt8, 9); limits = MsgPack.Limits(max_bytes = 8))) ==
          "MESSAGE_TOO_LARGE"
end

@testset "a byte may be a whole map, but not too often" begin
    inner = UInt8[0xdd; 0x00; 0x01; 0x00; 0x00; fill(0x80, 65536)]
    bomb = UInt8[0xdc; 0x00; 0xff; repeat(inner, 255)]
    @test malformed(bomb)
    # The four million entries that are allowed, each an empty map.
    @test (@allocated refusal(() -> MsgPack.unpack(bomb; limits = MsgPack.Limits(max_values = 100_000)))) < 64 * 1024 * 1024
end

@testset "a length that lies costs nothing" begin
    for head in ([0xdd], [0xdf], [0xdb], [0xc6], [0xc9])
        bytes = UInt8[head; 0x7f; 0xff; 0xff; 0xff; 0x01]
        @test malformed(bytes; max_text_bytes = typemax(Int), max_items = typemax(Int))
        @test (@allocated refusal(() -> MsgPack.unpack(bytes))) < 1_000_000
    end
end
