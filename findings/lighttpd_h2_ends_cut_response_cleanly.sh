#!/usr/bin/env bash
# lighttpd 1.4.69 and 1.4.79 with server.stream-response-body = 1: when an upstream dies in the middle of a chunked
# response, clients of HTTP/1.1 see a broken chunk, and clients of HTTP/2 see the regular end of a complete response.
#
# RFC 9113 asks for RST_STREAM when a response is incomplete. With END_STREAM a download that lost its second half, or a stream
# whose server was killed, looks finished. nginx, HAProxy, Caddy, Traefik, Envoy and Apache httpd reset the stream.
#
# An upstream sends one chunk, waits for a second and closes without the last chunk. curl reads it through lighttpd.
# Seen on 2026-11-28, twice, with 1.4.69 (Debian 12) and 1.4.79 (Debian 13):
#   HTTP/1.1: exit code 18 (the transfer is partial)
#   HTTP/2: exit code 0
#
# Needs lighttpd, python3 and curl with HTTP/2. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cat >"$folder/upstream.py" <<'PYTHON'
import socket
import time

server = socket.create_server(("127.0.0.1", 18731))
open("ready", "w").close()
while True:
    client, _ = server.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    time.sleep(1)
    client.close()
PYTHON
cat >"$folder/lighttpd.conf" <<CONF
server.document-root = "$folder"
server.bind = "127.0.0.1"
server.port = 18732
server.modules = ("mod_proxy")
server.stream-response-body = 1
proxy.server = ("" => (("host" => "127.0.0.1", "port" => 18731)))
CONF
(cd "$folder" && exec python3 upstream.py) &
until [ -e "$folder/ready" ]; do sleep 0.1; done
/usr/sbin/lighttpd -D -f "$folder/lighttpd.conf" 2>"$folder/log" &
until (exec 3<>/dev/tcp/127.0.0.1/18732) 2>/dev/null; do sleep 0.1; done

read_over() {
    code=0
    curl -q -sS --noproxy '*' --max-time 20 "$1" http://127.0.0.1:18732/ >"$folder/body" 2>/dev/null || code=$?
    echo "exit code $code, body $(cat "$folder/body")"
}
old=$(read_over --http1.1)
new=$(read_over --http2-prior-knowledge)
printf '%s\n' "HTTP/1.1: $old" "HTTP/2: $new"
[ "$old" = "exit code 18, body hello" ] && [ "$new" = "exit code 0, body hello" ]
