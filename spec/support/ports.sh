# spec/support/ports.sh, sourced by what starts servers: ports that no other run has.
#
# A run claims a block of ports below the range that outgoing connections are given, and holds a lock on it as long as any of its
# servers lives: they inherit the descriptor `$block`. So runs side by side never choose the same port, nor does one run choose it twice.

# claim_ports: takes a block; ends the script where none is free.
claim_ports() {
  local locks n
  locks=${TMPDIR:-/tmp}/caspian-ports.$(id -u)
  mkdir -p "$locks"
  for n in $(shuf -i 0-124); do
    exec {block}>"$locks/$n"
    if flock -n "$block"; then
      next_port=$((16000 + 128 * n))
      last_port=$((next_port + 127))
      return
    fi
    exec {block}>&-
  done
  echo "no block of ports is free: see $locks" >&2
  exit 1
}

# listening PORT: somebody listens there, on 127.0.0.1.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# await WHAT PORT…: waits until somebody listens on each of the ports, at most 20 s for each; says which WHAT does not, and is false then.
await() {
  local what=$1 port
  shift
  for port; do
    for _ in {1..400}; do
      if listening "$port"; then continue 2; fi
      sleep 0.05
    done
    echo "no $what listens on port $port" >&2
    return 1
  done
}

# free N: the next N ports of the block, in the array `ports`. Not for $(…), whose shell of its own would forget how many are taken.
free() {
  ports=()
  while [ ${#ports[@]} -lt "$1" ]; do
    if [ "$next_port" -gt "$last_port" ]; then echo "the block of ports is used up" >&2; exit 1; fi
    # A stranger's, which knows nothing of locks.
    listening "$next_port" || ports+=("$next_port")
    next_port=$((next_port + 1))
  done
}
