using GridpactCompute: Rules, Violation

"The fields that a rule blames."
function blamed(rule, value)
    found = Violation[]
    Rules.check!(found, rule, value)
    return [v.field for v in found]
end

@testset "at-most compares what is present" begin
    rule = Rules.AtMost(field = "low", limit = "high")
    @test blamed(rule, (low = 1, high = 1)) == String[]
    @test blamed(rule, (low = 2, high = 1)) == ["low"]
    @test blamed(rule, (low = 2, high = nothing)) == String[]
    @test blamed(Rules.AtMost(field = "low", limit = "high", names = "high"), (low = 2, high = 1)) == ["high"]
end

@testset "at-most holds one limit against many values" begin
    rule = Rules.AtMost(field = "items[].end", limit = "slots")
    @test blamed(rule, (slots = 4, items = [(var"end" = 4,), (var"end" = 5,)])) == ["items[1].end"]
end

@testset "before is strict" begin
    rule = Rules.Before(field = "first", limit = "last")
    @test blamed(rule, (first = 1, last = 2)) == String[]
    @test blamed(rule, (first = 2, last = 2)) == ["first"]
    @test blamed(rule, (first = 2, last = nothing)) == String[]
end

@testset "increasing compares each with the one before" begin
    points(values) = (points = [(at = v,) for v in values],)
    @test blamed(Rules.Increasing(field = "points[].at"), points([1, 2, 2, 1])) ==
          ["points[2].at", "points[3].at"]
    @test blamed(Rules.Increasing(field = "points[].at", or_equal = true), points([1, 2, 2, 1])) ==
          ["points[3].at"]
end

@testset "a tolerance is a part of the limit" begin
    rule = Rules.AtMost(field = "measured", limit = "capacity", tolerance = 0.05)
    @test blamed(rule, (measured = 105.0, capacity = 100.0)) == String[]
    @test blamed(rule, (measured = 105.1, capacity = 100.0)) == ["measured"]
end

@testset "windows are in order" begin
    rule = Rules.Disjoint(; field = "stays[]", start = "from", stop = "to")
    stays(second) = (stays = [(from = 0, to = 4), (from = second, to = 9)],)
    @test blamed(rule, stays(4)) == String[]
    @test blamed(rule, stays(3)) == ["stays[1].from"]
end

@testset "a profile fits its window" begin
    rule = Rules.Fits(; field = "power", start = "from", stop = "to")
    @test blamed(rule, (from = 2, to = 4, power = [1.0, 1.0])) == String[]
    @test blamed(rule, (from = 2, to = 4, power = [1.0, 1.0, 1.0])) == ["power"]
end

@testset "a list may be shorter where that is said" begin
    rule = Rules.LengthEquals(field = "plan", count = "slots", or_less = true)
    @test blamed(rule, (slots = 2, plan = [1.0])) == String[]
    @test blamed(rule, (slots = 2, plan = [1.0, 1.0, 1.0])) == ["plan"]
end

@testset "the last value is what it must be" begin
    rule = Rules.LastEquals(field = "steps[].to", value = "most")
    @test blamed(rule, (most = 5.0, steps = [(to = 2.0,), (to = 5.0,)])) == String[]
    @test blamed(rule, (most = 6.0, steps = [(to = 2.0,), (to = 5.0,)])) == ["steps[1].to"]
end

@testset "refers-to knows only what is there" begin
    rule = Rules.RefersTo(field = "wires[].bus", to = ["buses[].name", "bars[].name"])
    net(bus) = (buses = [(name = "a",)], bars = [(name = "b",)], wires = [(bus = bus,)])
    @test blamed(rule, net("a")) == String[]
    @test blamed(rule, net("b")) == String[]
    @test blamed(rule, net("c")) == ["wires[0].bus"]
end

@testset "contains wants one of the values" begin
    rule = Rules.Contains(field = "sources[].role", value = "SLACK")
    @test blamed(rule, (sources = [(role = "PV",), (role = "SLACK",)],)) == String[]
    @test blamed(rule, (sources = [(role = "PV",)],)) == ["sources"]
end

@testset "not-all-zero wants one beyond the tolerance" begin
    @test blamed(Rules.NotAllZero(fields = ["r", "x"]), (r = 0.0, x = -1e-12)) == String[]
    @test blamed(Rules.NotAllZero(fields = ["r", "x"]), (r = 0.0, x = -0.0)) == ["r"]
    @test blamed(Rules.NotAllZero(fields = ["r", "x"], tolerance = 1e-9), (r = -1e-9, x = 0.0)) == ["r"]
    @test blamed(Rules.NotAllZero(fields = ["r", "x"], tolerance = 1e-9), (r = 0.0, x = -1e-8)) == String[]
end

@testset "length-equals counts a list" begin
    rule = Rules.LengthEquals(field = "column", count = "names")
    @test blamed(rule, (names = ["a", "b"], column = [1.0, 2.0])) == String[]
    @test blamed(rule, (names = ["a", "b"], column = [1.0])) == ["column"]
end

@testset "length-equals looks at each list" begin
    rule = Rules.LengthEquals(field = "items[].values", count = "count")
    @test blamed(rule, (count = 2, items = [(values = [1, 2],), (values = [1],)])) == ["items[1].values"]
end

@testset "unique takes all fields together" begin
    rule = Rules.Unique(fields = ["a[].name", "b[].name"])
    @test blamed(rule, (a = [(name = "x",)], b = [(name = "y",), (name = "x",)])) == ["b[1].name"]
end

@testset "convex means that no slope falls" begin
    rule = Rules.Convex(field = "curve", x = "at", y = "cost")
    curve(places...) = (curve = [(at = x, cost = y) for (x, y) in places],)
    @test blamed(rule, curve((0, 0), (1, 1), (3, 3), (4, 9))) == String[]
    @test blamed(rule, curve((0, 0), (1, 1), (3, 2.9), (4, 2.9))) == ["curve[2].cost", "curve[3].cost"]
    @test blamed(rule, curve((0, 0), (0, 1), (0, 0))) == String[]
    @test blamed(rule, curve((0, 0))) == String[]
end

@testset "spans looks at both ends" begin
    rule = Rules.Spans(field = "curve[].at", first = "least", last = "most")
    curve(places...) = (least = 1, most = 3, curve = [(at = x,) for x in places])
    @test blamed(rule, curve(1, 2, 3)) == String[]
    @test blamed(rule, curve(0, 2, 4)) == ["curve[0].at", "curve[2].at"]
    @test blamed(rule, curve()) == String[]
end

@testset "a unit that must run can start at once" begin
    rule = Rules.MustRunCanStart(field = "must_run")
    unit(must_run, power, off_h) = (must_run = must_run, initial_power_mw = power,
        initial_duration_h = off_h, min_down_time_h = 8.0)
    @test blamed(rule, unit(true, nothing, 7.9)) == ["must_run"]
    @test blamed(rule, unit(true, nothing, 8.0)) == String[]
    @test blamed(rule, unit(true, 5.0, 1.0)) == String[]
    @test blamed(rule, unit(false, nothing, 1.0)) == String[]
end
