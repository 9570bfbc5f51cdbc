#!/bin/bash
# Prints the data of every event once, over any number of connections, until the topic ends.
url=$1

id= status=
while [ "$status" != 204 ]; do
    data= next=
    while IFS= read -r line; do
        case $line in
            "data: "*) data+=${data:+$'\n'}${line#data: } ;;
            "id: "*) next=${line#id: } ;;
            "status: "*) read -r status cursor <<<"${line#status: }"; id=${id:-$cursor} ;;
            # Only the blank line completes an event.
            "") [ -z "$next" ] || { id=$next; printf '%s\n' "$data"; data= next=; } ;;
        esac
    done < <(curl -sfN --speed-limit 1 --speed-time 45 -H "Last-Event-ID: $id" -w 'status: %{http_code} %header{tailwater-cursor}\n' "$url")
    case $status in 4*) [ "$status" = 429 ] || exit 1 ;; esac
    [ "$status" = 204 ] || sleep 2
done
