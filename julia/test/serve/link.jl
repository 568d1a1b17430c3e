using GridpactCompute: PROGRESS, RESULT, read_link, write_link

@testset "frames come out as they went in, one after the other" begin
    io = IOBuffer()
    write_link(io, PROGRESS, UInt8[])
    write_link(io, RESULT, UInt8[1, 2, 3])
    seekstart(io)
    @test read_link(io) == (PROGRESS, UInt8[])
    @test read_link(io) == (RESULT, UInt8[1, 2, 3])
    @test_throws EOFError read_link(io)
end

@testset "a frame that is cut off is no frame" begin
    io = IOBuffer()
    write_link(io, RESULT, zeros(UInt8, 100))
    whole = take!(io)
    for cut in 0:length(whole)-1
        @test_throws EOFError read_link(IOBuffer(whole[1:cut]))
    end
end
