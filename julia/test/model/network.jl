using GridpactCompute: PowerNetworks

@testset "a loading's gradient is its slope" begin
    dice = Dice(7)
    for _ in 1:50
        branches = PowerNetworks.Branches(1)
        PowerNetworks.connect!(branches, 1, 1, 2, complex(roll(dice, 0.0, 0.1), roll(dice, 0.02, 0.2)),
            complex(0.001, roll(dice, 0.0, 0.05)), complex(0.0, roll(dice, 0.0, 0.05)),
            roll(dice, 0.9, 1.1), roll(dice, -0.2, 0.2))
        roll(dice, 1:2) == 1 ? (branches.max_power[1] = 0.5) : (branches.max_current[1] = 0.5)
        magnitude, angle = [roll(dice, 0.9, 1.1), roll(dice, 0.9, 1.1)], [roll(dice, -0.3, 0.3), 0.1]
        function loading(magnitude, angle)
            voltage = magnitude .* cis.(angle)
            return PowerNetworks.loading(branches, 1, voltage, PowerNetworks.flow(branches, 1, voltage)...)
        end
        slopes = PowerNetworks.loading_gradient(branches, 1, magnitude .* cis.(angle))
        h = 1e-6
        for k in 1:2
            turned = [i == k ? h : 0.0 for i in 1:2]
            @test slopes[k] ≈ (loading(magnitude, angle .+ turned) - loading(magnitude, angle .- turned)) / 2h rtol = 1e-5 atol = 1e-5
            up, down = magnitude .* (1 .+ turned), magnitude .* (1 .- turned)
            @test slopes[2+k] ≈ (loading(up, angle) - loading(down, angle)) / 2h rtol = 1e-5 atol = 1e-5
        end
    end
end

@testset "islands are numbered by their first bus" begin
    branches = PowerNetworks.Branches(3)
    for (m, (from, to)) in enumerate(((1, 4), (5, 2), (2, 3)))
        PowerNetworks.connect!(branches, m, from, to, 0.1im + 0.0, 0.0im, 0.0im, 1.0, 0.0)
    end
    @test PowerNetworks.islands(6, branches) == [1, 2, 2, 1, 2, 3]
    branches.in_service[3] = false
    @test PowerNetworks.islands(6, branches) == [1, 2, 3, 1, 2, 4]
end

@testset "angles are above -180 and at most 180 degrees" begin
    @test PowerNetworks.degrees(deg2rad.([0.0, 180.0, -180.0, 190.0, -530.0])) ≈ [0.0, 180.0, 180.0, -170.0, -170.0]
end
