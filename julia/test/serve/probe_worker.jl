# A worker without the solver: it answers real messages of the kind `probe`, and starts in a moment.

using GridpactCompute: READY, TASK, answer, die_with_parent, read_link, write_link
using Sockets

path, id, parent_pid = ARGS[1], ARGS[2], parse(Int, ARGS[3])
die_with_parent(parent_pid)
link = connect(path)
write_link(link, READY, Vector{UInt8}(id))
while !eof(link)
    tag, payload = read_link(link)
    tag == TASK && answer(link, payload)
end
