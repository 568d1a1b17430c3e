using GridpactCompute: Gate, WebSocket, authorize, hmac, proof, same_text

const SECRET = "correct horse"
const NOW = 1_800_000_000

token(; time = NOW, nonce = "0123456789abcdef0123456789abcdef", secret = SECRET) =
    "v1.$time.$nonce." * hmac(secret, "gridpact-bridge:v1.$time.$nonce")

upgrade(headers...; target = "/compute") = WebSocket.Request("GET", target, collect(Pair{String,String}, headers))
bearing(token) = upgrade("authorization" => "Bearer $token")

"The HTTP status that a request is refused with, or 101."
function status_of(gate, request)
    try
        authorize(gate, request)
        return 101
    catch err
        err isa WebSocket.Refused || rethrow()
        return err.status
    end
end

gate(; now = NOW) = Gate(SECRET; clock = () -> now)

@testset "the bridge's token opens the gate once" begin
    one = gate()
    @test status_of(one, bearing(token())) == 101
    @test status_of(one, bearing(token())) == 401
    @test status_of(one, bearing(token(nonce = "f"^32))) == 101
end

@testset "a token of another secret, time or form does not" begin
    @test status_of(gate(), bearing(token(secret = "wrong"))) == 401
    for (age, expected) in (0 => 101, 300 => 101, 301 => 401, -300 => 101, -301 => 401)
        @test status_of(gate(now = NOW + age), bearing(token())) == expected
    end
    whole = token()
    for wrong in ("", "v1", whole[1:end-1], whole * "0", uppercase(whole), replace(whole, "v1" => "v2"),
            replace(whole, string(NOW) => string(NOW + 1)), " " * whole)
        @test status_of(gate(), bearing(wrong)) == 401
    end
    @test status_of(gate(), upgrade()) == 401
    @test status_of(gate(), upgrade("authorization" => "Basic " * whole)) == 401
    @test status_of(gate(), upgrade("authorization" => "Bearer $whole", "authorization" => "Bearer $whole")) == 401
end

@testset "a browser is refused whatever it bears, and so is another path" begin
    @test status_of(gate(), upgrade("authorization" => "Bearer $(token())", "origin" => "http://localhost")) == 403
    @test status_of(gate(), upgrade("authorization" => "Bearer $(token())"; target = "/other")) == 404
    @test status_of(gate(), upgrade("authorization" => "Bearer $(token())"; target = "/compute?x=1")) == 101
end

@testset "a nonce is remembered as long as its token could be used, and no longer" begin
    now = Ref(NOW)
    one = Gate(SECRET; clock = () -> now[])
    ahead = token(time = NOW + 300)
    @test status_of(one, bearing(ahead)) == 101
    now[] = NOW + 599
    @test status_of(one, bearing(ahead)) == 401
    now[] = NOW + 10_000
    @test status_of(one, bearing(token(time = now[], nonce = "a"^32))) == 101
    @test length(one.seen) == 1
end

@testset "the proof is HMAC-SHA256 of the nonce" begin
    @test proof("secret", "00112233445566778899aabbccddeeff") ==
          hmac("secret", "gridpact-compute:00112233445566778899aabbccddeeff")
    # RFC 4231, test case 2
    @test hmac("Jefe", "what do ya want for nothing?") ==
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
end

@testset "texts are compared whole" begin
    @test same_text("abc", "abc") && !same_text("abc", "abd") && !same_text("abc", "ab") && same_text("", "")
end
