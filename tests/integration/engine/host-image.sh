#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes a container image without a registry: empty directories, the links of a merged /usr and a small /etc. What runs
# in it comes from the host's /usr, mounted read-only. Prints the image's tag; IMAGE_TAG changes it.
set -euo pipefail
tag=${IMAGE_TAG:-k2-host:1}
if docker image inspect "$tag" >/dev/null 2>&1; then
  echo "$tag"
  exit 0
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
mkdir -p "$root"/{usr,etc,proc,sys,dev,run,tmp,var/tmp,sbin} # sbin is a real directory: --init mounts its program there
chmod 1777 "$root/tmp" "$root/var/tmp"
for link in bin lib lib32 lib64 libx32; do
  [ -L "/$link" ] && ln -s "$(readlink "/$link")" "$root/$link"
done
cp -aL /etc/ld.so.cache /etc/nsswitch.conf "$root/etc/"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
tar -C "$root" -c . | docker import --change 'CMD ["sh"]' - "$tag" >/dev/null
echo "$tag"
