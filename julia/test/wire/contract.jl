using GridpactCompute: Cancel, DispatchBattery, Battery, MsgPack, ProbeInput, pack, unpack, unpack_one_of

# The golden vectors of every message, played by Python as well.
include(joinpath(@__DIR__, "..", "..", "..", "contract-tests", "vectors", "play.jl"))

"The rules broken, as `field:rule`."
function broken(work)
    try
        work()
    catch err
        err isa ContractError || rethrow()
        return sort!(["$(v.field):$(v.rule)" for v in err.violations])
    end
    return String[]
end

@testset "every violation is named, not only the first" begin
    @test broken(() -> unpack(Cancel, MsgPack.pack(Dict{String,Any}("type" => "cancel", "task_id" => 5)))) ==
          ["fencing_token:required", "task_id:type"]
end

@testset "rules of what is inside are named with their place" begin
    battery = Dict{String,Any}("capacity_kwh" => 5.0, "min_energy_kwh" => 6.0, "max_charge_power_kw" => 1.0,
        "max_discharge_power_kw" => 1.0, "charge_efficiency" => 0.9, "discharge_efficiency" => 0.9)
    found = broken(() -> unpack(DispatchBattery, MsgPack.pack(Dict{String,Any}("name" => "b",
        "battery" => battery, "initial_energy_kwh" => 6.0))))
    @test "battery.min_energy_kwh:at-most" in found
    @test "initial_energy_kwh:at-most" in found
end

@testset "the type of a message is told by its tag" begin
    types = ("cancel" => Cancel,)
    cancel = Cancel("01981f6e-7c00-7000-8000-000000000004", 7)
    @test unpack_one_of(types, pack(cancel)) == cancel
    @test broken(() -> unpack_one_of(types, MsgPack.pack((type = "hello",)))) == ["type:discriminator"]
    @test broken(() -> unpack_one_of(types, MsgPack.pack([1.0]))) == ["type:discriminator"]
end

@testset "a message that breaks its own contract is not sent" begin
    @test refusal(() -> pack(ProbeInput(-1, 0))) == "INVALID_ARGUMENT"
end
