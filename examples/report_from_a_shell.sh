#!/bin/sh
# Run a command as a flow run: its output becomes log records, its exit code the outcome, and it is
# stopped if the run is cancelled. If the service cannot be reached, or does not accept the token, the
# command runs all the same.
#
#   examples/report_from_a_shell.sh nightly-backup tar -cvf /backup/data.tar /data
#
# FLOWSPAN_HTTP is the address of the service over HTTP; FLOWSPAN_RUN, if set, is the calling run.
# FLOWSPAN_TOKEN, or the file FLOWSPAN_TOKEN_FILE, is the access token, if the service needs one.
set -u
[ $# -lt 2 ] && echo "usage: $0 FLOW COMMAND [ARGUMENT...]" >&2 && exit 2
service=${FLOWSPAN_HTTP:-http://127.0.0.1:4680}/flowspan.v1.SingleRunService
name=$1 && shift

headers=$(mktemp) output=$(mktemp) && trap 'rm -f "$headers" "$output"' EXIT
call() { # METHOD REQUEST: prints the answer; fails with 22 if the service refuses the request
    secret=${FLOWSPAN_TOKEN:-$(cat "${FLOWSPAN_TOKEN_FILE:-/dev/null}")}
    # In a file, because every user of the machine can see the arguments of a command.
    echo "content-type: application/json${secret:+
authorization: Bearer $secret}" > "$headers"
    printf '%s' "$2" | curl --silent --show-error --fail-with-body --max-time 10 --retry 2 \
        --retry-connrefused --header "@$headers" --data-binary @- "$service/$1"
}
quoted() { # prints standard input as the inside of a JSON string
    iconv -c -f UTF-8 -t UTF-8 | tr '\t' ' ' | tr -d '\000-\010\013-\037' |
        sed 's/["\\]/\\&/g' | awk '{ printf "%s%s", newline, $0; newline = "\\n" }'
}
field() { printf '%s' "$answer" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# A UUIDv7: with an id, the call can be repeated and still starts one run.
id=$(printf '%012x' $(($(date +%s) * 1000)))$(od -An -N 9 -t x1 /dev/urandom | tr -d ' \n')
id=$(echo "$id" | sed 's/^\(.\{8\}\)\(.\{4\}\)\(...\)\(...\)/\1-\2-7\3-8\4-/')
answer=$(call StartRun "{\"id\": \"$id\", \"flowName\": \"$(printf '%s\n' "$name" | quoted)\",
    \"lease\": \"60s\", \"runContext\": \"${FLOWSPAN_RUN:-}\"}")
case $answer in
*'"code":"failed_precondition"'* | *'"code":"invalid_argument"'*) # such as a cancelled caller
    echo "$name does not run: $answer" >&2 && exit 1 ;;
'{"code":'*) echo "$name runs, but is not reported: $answer" >&2 ;;
esac
token=$(field token)
[ -z "$token" ] && rm -f "$headers" "$output" && exec "$@"
FLOWSPAN_RUN=$(field runContext) && export FLOWSPAN_RUN # for the runs that the command starts

sent=0 number=0 logs= stopped=
take_lines() { # LINES: sets the fields for the lines after those sent, 200 at most
    last=$1 && [ $((last - sent)) -gt 200 ] && last=$((sent + 200))
    text=$(sed -n "$((sent + 1)),${last}p" "$output" | cut -b 1-1000 | quoted)
    number=$((number + 1)) sent=$last
    logs=${text:+, \"number\": $number, \"logs\": [{\"message\": \"$text\"\}]}
}
touch_run() { # LINES: renews the lease, sends lines, and stops the command if the run is cancelled
    [ -z "$logs" ] && [ "$1" -gt "$sent" ] && take_lines "$1"
    # After a failure, the same lines are sent again with the same number, and are stored once.
    answer=$(call TouchRun "{\"token\": \"$token\"$logs}") && logs= || echo "$answer" >&2
    case $answer in *'"cancelRequested":true'*) stop ;; esac
}
stop() { stopped=yes && kill -TERM "$command" 2> /dev/null; }

"$@" > "$output" 2>&1 &
command=$! && trap stop INT TERM
while kill -0 "$command" 2> /dev/null; do sleep 1 && touch_run "$(wc -l < "$output")"; done
wait "$command" && code=0 || code=$?
lines=$(($(wc -l < "$output") + 1)) && while [ "$sent" -lt "$lines" ]; do touch_run "$lines"; done
outcome=', "failure": {"type": "Exit", "message": "'$code'"}'
[ -n "$stopped" ] && outcome=', "cancelled": {}'
[ "$code" -eq 0 ] && outcome=
answer=$(call FinishRun "{\"token\": \"$token\"$outcome}") || echo "$answer" >&2
cat "$output" && exit "$code"
