#!/usr/bin/env bash
# Installs what building eBPF objects and running all tests need on Debian or Ubuntu,
# and says what it does. Quick when nothing is missing.
set -euo pipefail

declare -A tool=(
  [clang]=clang [llvm-strip]=llvm [bpftool]=bpftool [qemu-system-x86_64]=qemu-system-x86
  [cpio]=cpio [busybox]=busybox-static [runc]=runc [podman]=podman [containerd]=containerd
  [mariadbd]=mariadb-server-core [my_print_defaults]=mariadb-client-core
)
missing=()
for t in "${!tool[@]}"; do
  command -v "$t" >/dev/null || [ -x "/usr/sbin/$t" ] || missing+=("${tool[$t]}")
done
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
[ -e /usr/include/bpf/bpf_helpers.h ] || missing+=(libbpf-dev)

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "deps: missing: ${missing[*]}; install them with: sudo make deps" >&2
    exit 1
  fi
  if ! command -v apt-get >/dev/null; then
    echo "deps: missing: ${missing[*]}; apt-get is not here, install them by hand" >&2
    exit 1
  fi
  echo "deps: apt-get install ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if [ ! -e /usr/sbin/policy-rc.d ]; then # the tests start servers themselves; nothing is to run as a service
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "deps: everything is here"
