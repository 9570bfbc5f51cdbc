#!/bin/sh
# Prints the statistics of this machine from /proc, once a second, as events for
# `tailwater publish --input ndjson`. There is one event per line, on four topics:
#   machine/cpu machine/memory machine/network machine/tasks
#
#   examples/machine.sh | tailwater publish --input ndjson
#
# SECONDS_BETWEEN=0.2 examples/machine.sh prints five times a second.
set -eu

snapshots() {
    while :; do
        cat /proc/stat /proc/meminfo /proc/net/dev /proc/loadavg
        echo END
        sleep "${SECONDS_BETWEEN:-1}"
    done
}

# mawk, the awk of Debian, buffers its input unless it is interactive.
interactive=
awk -W version 2>&1 </dev/null | grep -q '^mawk' && interactive='-W interactive'

# shellcheck disable=SC2086 # an option and its value, or nothing
snapshots | awk $interactive '
    function rate(name, value,   r) { r = (name in last) ? value - last[name] : 0; last[name] = value; return r }
    function event(topic, data) { if (ticks) printf "{\"topic\":\"machine/%s\",\"type\":\"sample\",\"data\":{%s}}\n", topic, data }

    /^cpu / {
        user = rate("user", $2 + $3); system_ = rate("system", $4 + $7 + $8); wait = rate("wait", $6)
        total = user + system_ + wait + rate("idle", $5)
        if (total < 1) total = 1
        event("cpu", sprintf("\"user_percent\":%.1f,\"system_percent\":%.1f,\"io_wait_percent\":%.1f", 100 * user / total, 100 * system_ / total, 100 * wait / total))
    }
    /^ctxt / { switches = rate("ctxt", $2) }
    /^processes / { forks = rate("forks", $2) }
    /^procs_running / { running = $2 }
    /^procs_blocked / { blocked = $2 }
    /^MemTotal:/ { total_kib = $2 }
    /^MemAvailable:/ { available_kib = $2 }
    /^Cached:/ { cached_kib = $2 }
    /^Dirty:/ { event("memory", sprintf("\"used_mib\":%d,\"cached_mib\":%d,\"dirty_kib\":%d", (total_kib - available_kib) / 1024, cached_kib / 1024, $2)) }
    /^ *[a-z0-9@]+: *[0-9]+ +[0-9]+ +[0-9]+ / { sub(/:/, " "); received += $2; sent += $10 }
    NF == 5 && $4 ~ /\// { load = $1 }
    /^END$/ {
        event("network", sprintf("\"received_kib\":%.1f,\"sent_kib\":%.1f", rate("received", received) / 1024, rate("sent", sent) / 1024))
        event("tasks", sprintf("\"running\":%d,\"blocked\":%d,\"forks\":%d,\"context_switches\":%d,\"load\":%s", running, blocked, forks, switches, load))
        received = sent = 0
        ticks++
        fflush()
    }
'
