#!/bin/sh
# Fuzzes every parser with libFuzzer under the address and undefined-behaviour sanitizers.
#
#   native/fuzz/run.sh [60s | 30000000] [target...]    seconds, or executions, of each target
#
# Corpora are kept in build/fuzz/corpus/<target> and grow from run to run. What is found is written to
# build/fuzz/findings/<target>-..., and `fuzz_<target> FILE` of any build shows it again.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/fuzz
amount=${1:-60s}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- decap encap gro icmp inner netlink vxlan
case $amount in
*s) limit=-max_total_time=${amount%s} ;;
*) limit=-runs=$amount ;;
esac
command -v clang >/dev/null || { echo "clang is missing: apt-get install clang" >&2; exit 1; }
CC=clang CXX=clang++ cmake -S "$root" -B "$build" -G Ninja -DKERSEY_FUZZ=ON -DKERSEY_SANITIZE=ON >/dev/null
for target; do targets="${targets-} fuzz_$target"; done
# shellcheck disable=SC2086
cmake --build "$build" --target $targets >/dev/null
mkdir -p "$build/findings"
for target; do
  # As large as the target takes: longer inputs are only slower.
  case $target in
  vxlan) max=64 ;;
  inner) max=512 ;;
  decap | gro) max=900 ;;
  *) max=2048 ;;
  esac
  corpus=$build/corpus/$target
  mkdir -p "$corpus"
  log=$build/findings/$target.log
  begin=$(date +%s)
  status=0
  "$build/native/fuzz/fuzz_$target" "$limit" -max_len=$max -artifact_prefix="$build/findings/$target-" \
    -print_final_stats=1 "$corpus" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  printf '%-8s %12s executions in %5ss (%s/s), corpus %s, exit %s\n' \
    "$target" "${runs:-?}" "$(($(date +%s) - begin))" "${rate:-?}" "$(ls "$corpus" | wc -l)" "$status"
  [ "$status" -eq 0 ] || { tail -40 "$log" >&2; exit 1; }
done
