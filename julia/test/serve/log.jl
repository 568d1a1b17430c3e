using GridpactCompute: log_event, log_value

"What `work()` writes to standard output."
function printed(work)
    path, file = mktemp()
    redirect_stdout(work, file)
    close(file)
    return read(path, String)
end

@testset "a line is key=value pairs, and stays one line" begin
    line = printed(() -> log_event(:info, "ready"; port = 7430, why = "two words\nand \"more\"", empty = ""))
    @test occursin(r"^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info process=compute-julia event=ready port=7430 ", line)
    @test endswith(line, "why=\"two words\\nand \\\"more\\\"\" empty=\"\"\n")
    @test count(==('\n'), line) == 1
end

@testset "plain values need no quotes" begin
    @test log_value(1.5) == "1.5"
    @test log_value("a-b_c:1") == "a-b_c:1"
    @test log_value("a=b") == "\"a=b\""
end
