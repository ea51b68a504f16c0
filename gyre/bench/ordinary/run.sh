#!/bin/bash
# Runs workload.sh while a gyre of its own watches this host, and prints how often each rule fired for it: only alerts
# with the workload among the ancestors of the process count, as other things may happen on the host meanwhile. Needs
# root and `make build`. Usage: gyre/bench/ordinary/run.sh [directory for data, kept] [script instead of workload.sh]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gyre=${GYRE:-$here/../../../bin/gyre}
work=${2:-$here/workload.sh}
if [ $# -gt 0 ]; then data=$1; mkdir -p "$data"; else data=$(mktemp -d /var/tmp/gyre-ordinary.XXXXXX); fi
"$gyre" up --json --data-dir "$data" >"$data.alerts" 2>"$data.log" &
up=$!
trap 'kill -INT $up 2>/dev/null; wait $up 2>/dev/null; [ $# -gt 0 ] || rm -rf "$data" "$data.alerts" "$data.log"' EXIT
for i in $(seq 600); do
  "$gyre" status --data-dir "$data" >/dev/null 2>&1 && break
  kill -0 $up || { cat "$data.log"; exit 1; }
  [ "$i" -lt 600 ] || { echo "gyre up was not ready in time; see $data.log"; exit 1; }
  sleep 0.2
done
begin=$(date +%s)
"$work"
echo "took $(($(date +%s) - begin)) s"
sleep 5 # what is under way is stored
name=$(basename "$work" | cut -c1-15)
"$gyre" query --data-dir "$data" --format csv "SELECT rule_id, priority, count() AS alerts FROM alerts WHERE has(lineage.name, '$name') GROUP BY rule_id, priority ORDER BY alerts DESC, rule_id"
"$gyre" query --data-dir "$data" --format csv "SELECT count() AS alerts_of_the_whole_host FROM alerts"
"$gyre" status --data-dir "$data" | grep -iE 'events|lost|rules' || true
