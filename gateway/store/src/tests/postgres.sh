#!/usr/bin/env bash
# A private server for the tests: postgres.sh primary | postgres.sh standby PORT
#
# Prints its port when it answers, then waits for the end of its standard input, which the kernel closes when the tests'
# process ends, however it ends; then it stops the server and removes its files. A line `restart` stops the server and starts
# it again on the same port, which is printed once more when it answers.
set -euo pipefail
role=$1
follows=${2:-}
password=store-tests

find_bin() {
  local dir
  for dir in "${PG_BIN:-}" "$(pg_config --bindir 2>/dev/null || true)" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
    if [[ -n $dir && -x $dir/initdb && -x $dir/postgres ]]; then echo "$dir"; return; fi
  done
  echo "no PostgreSQL programs found; install the server package or set PG_BIN" >&2
  return 1
}
bin=$(find_bin)
as=()
user=$(id -un)
if [[ $(id -u) -eq 0 ]]; then
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  as=(setpriv "--reuid=$user" "--regid=$(id -gn "$user")" --clear-groups --)
fi

dir=$(mktemp -d /tmp/store-tests.XXXXXX)
server=
finish() {
  if [[ -n $server ]]; then
    kill -QUIT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

echo "$password" >"$dir/password"
if [[ ${#as[@]} -gt 0 ]]; then chown -R "$user" "$dir"; fi
cd "$dir"
export PGPASSWORD=$password
if [[ $role == standby ]]; then
  "${as[@]}" "$bin/pg_basebackup" --host=127.0.0.1 --port="$follows" --username=postgres --pgdata="$dir/data" \
    --checkpoint=fast --wal-method=stream --write-recovery-conf --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
else
  "${as[@]}" "$bin/initdb" --pgdata="$dir/data" --username=postgres --pwfile="$dir/password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
fi
launch() {
  "${as[@]}" "$bin/postgres" -D "$dir/data" -c listen_addresses=127.0.0.1 -c "port=$port" -c unix_socket_directories= \
    -c fsync=off -c full_page_writes=off -c max_connections=300 -c shared_buffers=32MB -c max_wal_senders=4 \
    -c dynamic_shared_memory_type=mmap -c jit=off </dev/null >>"$dir/log" 2>&1 &
  server=$!
}
# Fails when the server ends: the port is taken.
answers() {
  local i
  for ((i = 0; i < 300; i++)); do
    if "$bin/psql" --no-psqlrc --host=127.0.0.1 --port="$port" --username=postgres --dbname=postgres --command='select 1' >/dev/null 2>&1 &&
      kill -0 "$server" 2>/dev/null; then
      echo "$port"
      return
    fi
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}
for ((try = 0; try < 20; try++)); do
  port=$((20000 + RANDOM % 12000))
  launch
  answers || continue
  while read -r word; do
    if [[ $word == restart ]]; then
      kill -INT "$server"
      wait "$server" || true
      launch
      answers || { cat "$dir/log" >&2; exit 1; }
    fi
  done
  exit 0
done
cat "$dir/log" >&2
exit 1
