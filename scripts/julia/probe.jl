# What Gridpact asks of a Julia: the version, exceptions, the standard library, worker processes.

VERSION >= v"1.5" || error("Julia $VERSION is older than 1.5")

using Dates, Distributed, Libdl, LinearAlgebra, Random, SHA, Sockets, SparseArrays, Test, UUIDs

@test_throws DivideError div(1, 0)
@test sparse(Diagonal([2.0, 4.0])) \ [2.0, 4.0] == [1.0, 1.0]
@test remotecall_fetch(myid, only(addprocs(1))) == 2
