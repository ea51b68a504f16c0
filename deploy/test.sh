#!/usr/bin/env bash
# Runs all tests of all modules and ends with one summary line. Under CI=true a
# skipped test is a failure: this list of tests is meant to run everywhere that CI does.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
GOWORK=off go -C .tools build -o ../bin/gotestsum gotest.tools/gotestsum || exit 1
bin/gotestsum --format pkgname --format-icons text --jsonfile "$log" -- \
  -count=1 -p 1 -timeout 40m ./bpf/... ./bus/... ./collector/... ./daemon/... ./enricher/... ./evaluator/... ./gyre/... ./schemas/... ./sink/...
status=$?

skipped=$(grep -c '"Action":"skip".*"Test":' "$log")
if [ "$skipped" -gt 0 ]; then
  echo "test: $skipped skipped:"
  grep '"Action":"output".*--- SKIP' "$log" | sed -E 's/.*"Package":"([^"]*)".*--- SKIP: ([^ ]*).*/  \1 \2/'
  if [ "${CI:-}" = true ]; then
    echo "test: a skip is a failure here"
    status=1
  fi
fi
exit $status
