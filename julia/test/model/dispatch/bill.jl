using GridpactCompute: BillingIntervals, dispatch_problem, grid_bill, peak_kw, tier_bill, tier_parts

@testset "what is left of tiers, and what energy within them costs" begin
    tiers = DispatchTiers(280.0, [DispatchTier(100.0, 0.01), DispatchTier(300.0, 0.05), DispatchTier(400.0, 0.02)])
    @test tier_parts(tiers) == ([20.0, 100.0, Inf], [0.01, 0.05, 0.02], [1, 2, 3])
    @test tier_bill(tiers, 10.0) == ([10.0, 0.0, 0.0], 0.1)
    energy, its_cost = tier_bill(tiers, 150.0)
    @test energy == [20.0, 100.0, 30.0] && its_cost ≈ 20 * 0.01 + 100 * 0.05 + 30 * 0.02
    # Below the first tier nothing is added.
    @test tier_parts(DispatchTiers(0.0, [DispatchTier(5.0, 0.1)])) == ([5.0, Inf], [0.0, 0.1], [0, 1])
    for seed in 1:200
        dice = Dice(seed)
        its = DispatchTiers(roll(dice, 0.0, 9.0), [DispatchTier(2.0k + roll(dice, 0.0, 1.9), roll(dice, -1.0, 1.0)) for k in 0:roll(dice, 0:3)])
        kwh = roll(dice, 0.0, 12.0)
        @test isapprox(tier_bill(its, kwh)[2], surcharges(its, kwh); atol = 1e-9)
    end
end

charge(; members...) = DispatchDemandCharge(; name = "Peak", price_per_kw = 1.0, members...)

@testset "slots are shared out among the intervals of the clock" begin
    site = changed(any_site(Dice(1); T = 4, slot_s = 900); slot_duration_s = 600, start_time = "2026-06-01T10:10:00Z")
    # Slots from 10:10, 10:20, 10:30, 10:40; quarters of an hour from 10:00 on.
    intervals = BillingIntervals(site, charge(billing_interval_s = 900, interval_energy_so_far_kwh = 1.0))
    @test intervals.first == [1, 2, 3, 3]
    @test intervals.first_h .* 60 ≈ [5.0, 10.0, 10.0, 5.0]
    @test intervals.next_h .* 60 ≈ [5.0, 0.0, 0.0, 5.0]
    @test intervals.count == 4 && all(intervals.counts)
    # 1 kWh before, then 6 kW for five minutes: 1.5 kWh in a quarter of an hour are 6 kW.
    @test peak_kw(intervals, [6.0, 0.0, 0.0, 0.0]) ≈ 6.0
    @test peak_kw(intervals, [0.0, 0.0, 9.0, 9.0]) ≈ 9.0
end

@testset "the clock counts, not the first slot" begin
    site = changed(any_site(Dice(1); T = 2, slot_s = 1800); start_time = "2026-06-01T10:30:00.5Z")
    intervals = BillingIntervals(site, charge(billing_interval_s = 3600))
    @test intervals.first == [1, 2] && intervals.count == 2
    @test intervals.next_h .* 3600 ≈ [0.5, 0.0]
end

@testset "a slot longer than the interval counts as a whole, and only where a window says so" begin
    site = any_site(Dice(1); T = 3, slot_s = 3600)
    its = charge(billing_interval_s = 900, interval_energy_so_far_kwh = 99.0, windows = [DispatchSlotWindow(1, 2)])
    @test peak_kw(BillingIntervals(site, its), [9.0, 5.0, 9.0]) == 5.0
    @test peak_kw(BillingIntervals(site, charge(billing_interval_s = 900)), [1.0, 2.0, 3.0]) == 3.0
end

@testset "an interval without a slot that counts costs nothing, whatever was taken in it" begin
    site = any_site(Dice(1); T = 8, slot_s = 900)
    its = charge(billing_interval_s = 3600, interval_energy_so_far_kwh = 99.0, windows = [DispatchSlotWindow(4, 8)])
    @test peak_kw(BillingIntervals(site, its), fill(2.0, 8)) ≈ 2.0
end
