#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Removes the containers and networks of the engine in ENGINE_DIR and stops it. Nothing to do if none runs there.
set -uo pipefail
ENGINE_DIR=${ENGINE_DIR:-/var/tmp/k2-engine}
PATH=$PATH:/usr/sbin:/sbin
# An engine that was killed has not unmounted its own folder.
trap 'umount "$ENGINE_DIR/netns" "$ENGINE_DIR"/run/netns/* "$ENGINE_DIR/data" 2>/dev/null; exit 0' EXIT
pid=$(cat "$ENGINE_DIR/docker.pid" 2>/dev/null) || exit 0
[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || exit 0

export DOCKER_HOST=unix://$ENGINE_DIR/docker.sock
docker ps -aq | xargs -r docker rm -f -v >/dev/null
docker network prune -f >/dev/null
kill -TERM "$pid"
for ((i = 0; i < 150; i++)); do
  if [ ! -d "/proc/$pid" ] || grep -q '^State:.*Z' "/proc/$pid/status"; then
    break
  fi
  sleep 0.1
done
exit 0
