"""
Numbers of names: which place a name has in a list. A table of open addressing, because a large network has
tens of thousands of names and references, and a `Dict` takes several times as long.
"""
module NameTables

Base.Experimental.@optlevel 3

"""
The names that were added, in that order. `differ` says whether each of them was new; of equal ones the first
has the number.
"""
mutable struct NameTable
    names::Vector{String}
    hashes::Vector{UInt}
    slots::Vector{Int32}                  # numbers of names by their hash; 0 is free
    differ::Bool
end
NameTable() = NameTable(String[], UInt[], zeros(Int32, 16), true)

"The number of a name among those added; 0 when it is none of them."
function number(table::NameTable, name::String)
    hashed = hash_of(name)
    return @inbounds Int(table.slots[place(table, name, hashed)])
end

"Add the name of each item, that is `name(item)`; those that have none are left out."
function add!(name, table::NameTable, items)
    reserve!(table, length(table.names) + length(items))
    for item in items
        its = name(item)
        its === nothing || insert!(table, its)
    end
    return nothing
end

"Whether the name of each item is in the table; those that have none are passed over."
function refer(name, items, table::NameTable)
    for item in items
        its = name(item)
        its === nothing || number(table, its) > 0 || return false
    end
    return true
end

function insert!(table::NameTable, name::String)
    hashed = hash_of(name)
    at = place(table, name, hashed)
    if @inbounds table.slots[at] > 0
        table.differ = false
    else
        push!(table.names, name)
        push!(table.hashes, hashed)
        @inbounds table.slots[at] = length(table.names)
    end
    return nothing
end

"Room for `count` names in all, at most half of the slots taken."
function reserve!(table::NameTable, count::Int)
    2 * count <= length(table.slots) && return nothing
    slots = zeros(Int32, nextpow(2, 2 * count))
    mask = length(slots) - 1
    for (number, hashed) in enumerate(table.hashes)
        at = Int(hashed & mask) + 1
        while slots[at] > 0
            at = (at & mask) + 1
        end
        slots[at] = number
    end
    table.slots = slots
    sizehint!(table.names, count)
    sizehint!(table.hashes, count)
    return nothing
end

"The slot that has the name, or the free one where it would go."
function place(table::NameTable, name::String, hashed::UInt)
    slots, mask = table.slots, length(table.slots) - 1
    at = Int(hashed & mask) + 1
    @inbounds while slots[at] > 0
        number = slots[at]
        table.hashes[number] == hashed && table.names[number] == name && break
        at = (at & mask) + 1
    end
    return at
end

"A hash of the bytes, eight at a time."
function hash_of(text::String)
    count = sizeof(text)
    hashed = (count % UInt) * 0x9e3779b97f4a7c15
    GC.@preserve text begin
        from = pointer(text)
        i = 0
        while i <= count - 8
            hashed = mixed(hashed, unsafe_load(convert(Ptr{UInt64}, from + i)))
            i += 8
        end
        rest = zero(UInt64)
        while i < count
            rest = rest << 8 | unsafe_load(from + i)
            i += 1
        end
    end
    return mixed(hashed, rest)
end

@inline function mixed(hashed::UInt, word::UInt64)
    product = (hashed ⊻ word) * 0xff51afd7ed558ccd
    return product ⊻ product >> 32
end

end
