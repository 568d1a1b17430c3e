# Julia's answer to each line of standard input, `Type hex`: the packed result, or the refusal in the
# words of `test_power_flow.py`.

using GridpactCompute: GridpactCompute, ContractError, compute, pack, unpack

silent(step...; known...) = nothing

for line in eachline(stdin)
    title, data = split(line, ' ')
    T = getfield(GridpactCompute, Symbol(title))
    answer = try
        "result " * bytes2hex(pack(compute(unpack(T, hex2bytes(data)), silent)))
    catch problem
        problem isa ContractError || rethrow()
        problem.reason * " " * join(sort!(["$(v.field):$(v.rule)" for v in problem.violations]), ";")
    end
    println(answer)
end
