using GridpactCompute: Zstd

@testset "content comes back, at every size around the limit" begin
    dice = Dice(3)
    for count in (0, 1, 100, 65535, 65536, 65537, 1_000_000)
        bytes = UInt8[roll(dice) & 0x0f for _ in 1:count]
        frame = Zstd.compress(bytes)
        @test Zstd.decompress(frame, count) == bytes
        @test Zstd.decompress(frame, count + 1) == bytes
        count > 0 && @test refusal(() -> Zstd.decompress(frame, count - 1)) == "MESSAGE_TOO_LARGE"
    end
end

"A frame that does not declare its size, which a streaming writer makes."
function frame_without_size(bytes)
    context = ccall(Zstd.entry(:ZSTD_createCCtx), Ptr{Cvoid}, ())
    frame = Vector{UInt8}(undef, length(bytes) + 1000)
    ccall(Zstd.entry(:ZSTD_CCtx_setParameter), Csize_t, (Ptr{Cvoid}, Cint, Cint), context, 200, 0)
    size = ccall(Zstd.entry(:ZSTD_compress2), Csize_t,
        (Ptr{Cvoid}, Ptr{UInt8}, Csize_t, Ptr{UInt8}, Csize_t),
        context, frame, length(frame), bytes, length(bytes))
    ccall(Zstd.entry(:ZSTD_freeCCtx), Csize_t, (Ptr{Cvoid},), context)
    return resize!(frame, size)
end

@testset "a bomb is refused before it takes room" begin
    declared = Zstd.compress(zeros(UInt8, 256 * 1024 * 1024))
    silent = frame_without_size(zeros(UInt8, 64 * 1024 * 1024))
    @test length(declared) < 100_000 && length(silent) < 100_000
    for bomb in (declared, silent)
        @test refusal(() -> Zstd.decompress(bomb, 1_000_000)) == "MESSAGE_TOO_LARGE"
        @test (@allocated refusal(() -> Zstd.decompress(bomb, 1_000_000))) < 16 * 1024 * 1024
    end
    @test Zstd.decompress(silent, 64 * 1024 * 1024) == zeros(UInt8, 64 * 1024 * 1024)
end

@testset "a damaged, cut or prolonged frame is refused" begin
    dice = Dice(4)
    frame = Zstd.compress(UInt8[roll(dice) & 0x0f for _ in 1:5000])
    for cut in 0:length(frame)-1
        @test refusal(() -> Zstd.decompress(frame[1:cut], 10_000)) == "MESSAGE_MALFORMED"
    end
    @test refusal(() -> Zstd.decompress([frame; 0x00], 10_000)) == "MESSAGE_MALFORMED"
    @test refusal(() -> Zstd.decompress([frame; frame], 20_000)) == "MESSAGE_MALFORMED"
    for _ in 1:500
        damaged = copy(frame)
        damaged[roll(dice, 1:length(damaged))] ⊻= UInt8(roll(dice, 1:255))
        @test refusal(() -> Zstd.decompress(damaged, 10_000)) in
              (nothing, "MESSAGE_MALFORMED", "MESSAGE_TOO_LARGE")
    end
end
