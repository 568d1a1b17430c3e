# Sourced by scripts that run uv: hands uv the index and certificates that pip is set up with.

export UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"

# pip_setting PYTHON NAME: what pip would use for NAME, from its environment or its files.
pip_setting() {
  local variable
  variable="PIP_$(printf '%s' "$2" | tr 'a-z-' 'A-Z_')"
  if [ -n "${!variable:-}" ]; then
    printf '%s' "${!variable}"
  else
    "$1" -m pip config get "global.$2" 2>/dev/null || true
  fi
}

# export_index PYTHON: sets uv's environment from pip's; what is already set for uv stays.
export_index() {
  local value
  if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    value=$(pip_setting "$1" index-url)
    [ -z "$value" ] || export UV_DEFAULT_INDEX="$value"
  fi
  if [ -z "${UV_INDEX:-}${UV_EXTRA_INDEX_URL:-}" ]; then
    value=$(pip_setting "$1" extra-index-url)
    [ -z "$value" ] || export UV_INDEX="$value"
  fi
  if [ -z "${SSL_CERT_FILE:-}" ]; then
    value=$(pip_setting "$1" cert)
    if [ -n "$value" ]; then
      export SSL_CERT_FILE="$value"
    else
      export UV_SYSTEM_CERTS=true
    fi
  fi
}
