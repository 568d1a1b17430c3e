# What a start would otherwise infer again, kept with the package's cache. Inference follows the calls
# that it can see; these are the ones that it cannot, because types are known only when they run.

precompile(main, (Vector{String},))
precompile(serve_connection, (Node, TCPSocket))
precompile(rehearse, (Node,))
for f in (greet_workers, restock, keep_spare, close)
    precompile(f, (Pool,))
end
precompile(greet, (Pool, Base.PipeEndpoint))
precompile(lost, (Pool, Worker))
precompile(WebSocket.write_outbox, (WebSocket.Connection,))
precompile(work, (String, Int, Int, Int))
precompile(answer, (IO, Vector{UInt8}))
precompile(warm_up, ())

for name in names(@__MODULE__; all = true)
    T = getfield(@__MODULE__, name)
    T isa DataType && isconcretetype(T) && T <: Contracted || continue
    precompile(Reading.read_map, (Reading.Reader, Type{T}))
    precompile(Writing.write_map, (Writing.Writer, T))
    precompile(keeps_rules, (T,))
end
for T in last.(SEND_TO_NODE)
    precompile(handle, (Session, T, Vector{UInt8}))
end
for (_, types) in KINDS
    precompile(compute, (types.input, Report))
end

precompile(unpack, (Type, Vector{UInt8}))
precompile(refuse_to_read, (Type, Vector{UInt8}, MsgPack.Limits))
precompile(pack, (Message,))
precompile(members, (Any,))
for T in (Shapes.Text, Shapes.Numeric, Shapes.Flag, Shapes.Binary, Shapes.ListOf, Shapes.Record)
    precompile(Shapes.check!, (Vector{Violation}, T, Any, String))
end
precompile(Shapes.check!, (Vector{Violation}, Shapes.Series, Vector{Float64}, String))
precompile(Shapes.is_instant, (String,))
for name in names(Rules; all = true)
    T = getfield(Rules, name)
    T isa DataType && isconcretetype(T) && T <: Rules.Rule &&
        precompile(Rules.check!, (Vector{Violation}, T, Any))
end
precompile(Rules.blame!, (Vector{Violation}, Rules.AtMost, Float64, Float64))
for T in (Bool, Int, Float64, String, Vector{UInt8}, Vector{Float64}, Contracted, Vector{Any})
    precompile(MsgPack.pack, (IOBuffer, T))
end
