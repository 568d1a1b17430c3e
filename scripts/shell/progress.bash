# Sourced by the set-up scripts: one short line for every step, with the seconds it took.

program=$(basename "$0")

die() {
  printf '\n%s: %s\n' "$program" "$*" >&2
  exit 1
}

# timed WORDS -- COMMAND...: runs the command and says how long it took.
timed() {
  local words="$1" began=$SECONDS
  shift 2
  printf '%s: %s ... ' "$program" "$words"
  "$@" || return
  printf '%d s\n' $((SECONDS - began))
}
