using GridpactCompute: BODY_BYTES, DECODED_BYTES, ENGINE_VERSION, Error, TaskMessage, Violation, Zstd, ZSTD_THRESHOLD_BYTES,
    decoded, encoded, error_message, pack, unpack

task(encoding, body) = TaskMessage(task_id = "01981f6e-7c00-7000-8000-000000000004", kind = "probe", attempt = 1,
    fencing_token = 7, remaining_ms = 1000, encoding = encoding, body = body)

@testset "the version is the package's" begin
    @test occursin(r"^\d+\.\d+\.\d+$", ENGINE_VERSION)
end

@testset "an error says what the registry says, about its attempt" begin
    message = error_message(ContractError("WORKER_LOST", "", "gone"), task("identity", UInt8[0x80]))
    @test (message.task_id, message.fencing_token) == ("01981f6e-7c00-7000-8000-000000000004", 7)
    @test message.retryable
    @test !error_message(ContractError("INFEASIBLE", "", "no")).retryable
    @test error_message(ContractError("INFEASIBLE", "", "no")).task_id === nothing
end

@testset "however much went wrong, the error keeps its contract" begin
    violations = [Violation("f"^300, "r"^100, "ü"^2000) for _ in 1:150]
    message = error_message(ContractError("INVALID_ARGUMENT", "", "ü"^5000, violations))
    @test unpack(Error, pack(message)).reason == "INVALID_ARGUMENT"
    @test length(message.message) == 4096 && length(message.violations) == 100
end

@testset "a body is compressed where that saves a tenth, and comes back" begin
    dice = Dice(8)
    small, noise = zeros(UInt8, ZSTD_THRESHOLD_BYTES - 1), roll_bytes(dice, 50_000)
    @test encoded(small) == ("identity", small)
    @test encoded(noise) == ("identity", noise)
    encoding, body = encoded(zeros(UInt8, 50_000))
    @test encoding == "zstd" && length(body) < 1000
    @test decoded(task(encoding, body)) == zeros(UInt8, 50_000)
    @test decoded(task("identity", noise)) == noise
end

@testset "a result is as large as a message carries, to the byte" begin
    dice = Dice(11)
    noise = roll_bytes(dice, BODY_BYTES + 1)
    largest = noise[1:end-1]
    @test encoded(largest) == ("identity", largest)
    @test refusal(() -> encoded(noise)) == "RESULT_TOO_LARGE"
    limit = DECODED_BYTES
    for size in (limit - 1, limit)
        encoding, body = encoded(zeros(UInt8, size))
        @test encoding == "zstd" && length(Zstd.decompress(body, limit)) == size
    end
    @test refusal(() -> encoded(zeros(UInt8, limit + 1))) == "RESULT_TOO_LARGE"
end
