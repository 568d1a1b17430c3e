# TEMPORARY until the generated types stand.
const HEARTBEAT_INTERVAL_S = 5.0
const ENGINE_VERSION = "0.1.0"
channel_limits() = WebSocket.Limits(message_bytes=16777216, silence_timeout_s=3*HEARTBEAT_INTERVAL_S)
struct Hello; bridge_id::String; nonce::String; end
struct TaskMessage; task_id::String; kind::String; attempt::Int; fencing_token::Int; remaining_ms::Int; encoding::String; body::Vector{UInt8}; end
struct Cancel; task_id::String; fencing_token::Int; end
struct Heartbeat; sequence::Int; end
function unpack_from_bridge(bytes)
    m = MsgPack.unpack(bytes)
    m isa Dict || malformed("no map")
    t = get(m,"type",nothing)
    t=="hello" && return Hello(m["bridge_id"],m["nonce"])
    t=="task" && return TaskMessage(m["task_id"],m["kind"],m["attempt"],m["fencing_token"],m["remaining_ms"],m["encoding"],m["body"])
    t=="cancel" && return Cancel(m["task_id"],m["fencing_token"])
    t=="heartbeat" && return Heartbeat(m["sequence"])
    malformed("unknown type")
end
unpack_task(bytes) = unpack_from_bridge(bytes)
pack_welcome(id, capacity, proof) = MsgPack.pack((type="welcome", contract_version=1, node_id=id, engine="julia", engine_version=ENGINE_VERSION, kinds=collect(KINDS), capacity=capacity, heartbeat_interval_ms=5000, proof=proof))
pack_heartbeat(sequence, busy) = MsgPack.pack((type="heartbeat", sequence=sequence, busy=busy))
pack_accepted(job) = MsgPack.pack((type="accepted", task_id=job.task_id, fencing_token=job.fencing_token))
pack_progress(task, fraction, stage, o, g) = MsgPack.pack((type="progress", task_id=task.task_id, fencing_token=task.fencing_token, fraction=Float64(fraction), stage=stage))
pack_result(task, encoding, solve_ms, body) = MsgPack.pack((type="result", task_id=task.task_id, fencing_token=task.fencing_token, encoding=encoding, solve_ms=solve_ms, body=body))
function pack_error(job, err)
    v=[(field=x.field,rule=x.rule,message=x.message) for x in err.violations]
    job===nothing ? MsgPack.pack((type="error", reason=err.reason, message=err.message, retryable=false, violations=v)) :
    MsgPack.pack((type="error", task_id=job.task_id, fencing_token=job.fencing_token, reason=err.reason, message=err.message, retryable=err.reason in ("WORKER_LOST","NODE_BUSY"), violations=v))
end
decoded_body(task) = task.encoding == "zstd" ? Zstd.decompress(task.body, 67108864) : task.body
encoded_body(body) = ("identity", body)
struct DispatchInput; d::Dict; end
struct ProbeInput; d::Dict; end
unpack(T, body) = T(MsgPack.unpack(body))
pack(x)=MsgPack.pack(x)
function probe(i)
 t=time_ns(); h=get(i.d,"hold_ms",0); h>0 && sleep(h/1000)
 (held_ms=(time_ns()-t)/1e6, padding="x"^get(i.d,"result_bytes",0))
end
function dispatch(i, progress)
 d=i.d; n=d["slots"]; s(x)=float64_series(x,"")
 bs=[Battery(get(b["battery"],"min_energy_kwh",0),b["battery"]["capacity_kwh"],b["battery"]["max_charge_power_kw"],b["battery"]["max_discharge_power_kw"],b["battery"]["charge_efficiency"],b["battery"]["discharge_efficiency"],0.0,b["initial_energy_kwh"],get(b,"final_energy_kwh",nothing)) for b in d["batteries"]]
 p=DispatchProblem(d["slot_duration_s"]/3600,s(d["tariff"]["import_price_per_kwh"]),s(d["tariff"]["export_price_per_kwh"]),sum(s(l["power_kw"]) for l in d["loads"]),zeros(n),d["grid"]["max_import_power_kw"],d["grid"]["max_export_power_kw"],bs)
 progress(0.1,"solve")
 pl=solve_dispatch(p)
 (cost=pl.cost,)
end
function warm_up()
 n=96
 b=Dict("name"=>"b","initial_energy_kwh"=>1.0,"battery"=>Dict("capacity_kwh"=>10.0,"max_charge_power_kw"=>5.0,"max_discharge_power_kw"=>5.0,"charge_efficiency"=>.9,"discharge_efficiency"=>.9))
 body=MsgPack.pack(Dict("slots"=>n,"slot_duration_s"=>900,"batteries"=>[b],"loads"=>[Dict("power_kw"=>ones(n))],"tariff"=>Dict("import_price_per_kwh"=>[0.1*i for i in 1:n],"export_price_per_kwh"=>zeros(n)),"grid"=>Dict("max_import_power_kw"=>10.0,"max_export_power_kw"=>10.0)))
 compute("dispatch",body,(a...)->nothing)
 compute("probe",MsgPack.pack(Dict("hold_ms"=>1)),(a...)->nothing)
end
