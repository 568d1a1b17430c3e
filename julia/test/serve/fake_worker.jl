# A worker that starts at once and does what the task's bytes say: the first of them is a letter.

using Sockets

const READY, PROGRESS, RESULT = 0x02, 0x03, 0x04

function say(link, tag, payload)
    write(link, tag, UInt32(length(payload)), payload)
end

behaviour, path, id = ARGS[1], ARGS[2], ARGS[3]
behaviour == "stillborn" && exit(1)
link = connect(path)
say(link, READY, Vector{UInt8}(id))
while !eof(link)
    read(link, UInt8)
    payload = read(link, read(link, UInt32))
    what = Char(payload[1])
    what == 'e' && say(link, RESULT, payload)                                    # echo
    what == 'p' && (say(link, PROGRESS, payload); say(link, RESULT, payload))    # progress, then echo
    what == 'i' && say(link, RESULT, Vector{UInt8}(string(getpid())))            # its process id
    what == 'm' && exit(71)                                                      # has not got the memory
    what == 'b' && (hoard = [Any[i] for i in 1:10_000_000]; Libc.systemsleep(60))  # has got too much, in bits
    what == 'd' && exit(3)                                                       # die
    what == 'h' && while true                                                    # hang, like a solver
        Libc.systemsleep(60)
    end
end
