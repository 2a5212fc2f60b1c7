#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Starts a private Docker Engine for tests and prints DOCKER_HOST=unix://... once it answers. Needs root and the
# programs dockerd, containerd, runc and iptables. Safe to call again: an engine that answers is used as it is.
#
#   ENGINE_DIR   data, socket and logs (default /var/tmp/k2-engine; keep it short: a socket path has 107 characters)
#   ENGINE_WAIT  seconds until giving up (default 60)
#   ENGINE_APART any text: on a network of its own, kept as ENGINE_DIR/netns, so that bridges, addresses and rules of the
#                host and of other engines are neither used nor touched. Containers are reached from within it only.
set -euo pipefail
ENGINE_DIR=${ENGINE_DIR:-/var/tmp/k2-engine}
ENGINE_WAIT=${ENGINE_WAIT:-60}
PATH=$PATH:/usr/sbin:/sbin
socket=$ENGINE_DIR/docker.sock

fail() {
  echo "start-engine: $*" >&2
  exit 1
}

answers() {
  curl -fsS -m 3 --unix-socket "$socket" http://localhost/_ping >/dev/null 2>&1
}

# A pid file may name a zombie, which "kill -0" takes for alive; dockerd itself falls for that and gives up after 15 s.
alive() { # PID_FILE NAME
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] && ! grep -q '^State:.*Z' "/proc/$pid/status"
}

for program in dockerd containerd runc iptables curl ${ENGINE_APART:+ip}; do
  command -v "$program" >/dev/null || fail "$program is missing; do: apt-get install docker.io iptables iproute2 curl"
done
[ "$(id -u)" = 0 ] || fail "an engine of its own needs root"

mkdir -p "$ENGINE_DIR"
exec 9>"$ENGINE_DIR/start.lock"
flock 9 # a second caller waits here, then finds the engine up
if ! answers; then
  enter=()
  if [ -n "${ENGINE_APART:-}" ]; then
    # A file that the network is mounted on outlives the engine, which may be killed and started again.
    if ! mountpoint -q "$ENGINE_DIR/netns"; then
      : >"$ENGINE_DIR/netns"
      unshare --net="$ENGINE_DIR/netns" ip link set lo up || fail "no network of its own can be made here"
    fi
    enter=(nsenter --net="$ENGINE_DIR/netns")
  fi
  if ! alive "$ENGINE_DIR/docker.pid" dockerd; then
    rm -f "$ENGINE_DIR/docker.pid"
    alive "$ENGINE_DIR/run/containerd/containerd.pid" containerd || rm -f "$ENGINE_DIR/run/containerd/containerd.pid"
    setsid ${enter[@]+"${enter[@]}"} dockerd --data-root "$ENGINE_DIR/data" --exec-root "$ENGINE_DIR/run" --pidfile "$ENGINE_DIR/docker.pid" \
      -H "unix://$socket" --log-level warn --log-opt max-size=10m --log-opt max-file=2 \
      >>"$ENGINE_DIR/dockerd.log" 2>&1 </dev/null 9>&- &
  fi
  for ((i = 0; i < ENGINE_WAIT * 5; i++)); do
    answers && break
    sleep 0.2
  done
  answers || {
    tail -15 "$ENGINE_DIR/dockerd.log" >&2
    fail "dockerd did not answer within ${ENGINE_WAIT} s"
  }
fi
echo "DOCKER_HOST=unix://$socket"
