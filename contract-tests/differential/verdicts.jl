# Julia's verdict on each line of standard input, `Type hex`: what Python says in the same words.

using GridpactCompute: GridpactCompute, ContractError, pack, unpack

for line in eachline(stdin)
    title, data = split(line, ' ')
    T = getfield(GridpactCompute, Symbol(title))
    verdict = try
        "accept " * bytes2hex(pack(unpack(T, hex2bytes(data))))
    catch problem
        problem isa ContractError || rethrow()
        problem.reason * " " * join(sort!(["$(v.field):$(v.rule)" for v in problem.violations]), ";")
    end
    println(verdict)
end
