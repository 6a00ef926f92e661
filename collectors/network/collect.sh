now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
# Mbit/s, where the driver knows it; -1 and errors mean that it does not.
for file in /sys/class/net/*/speed; do
    name=${file%/speed}
    printf '%s %s\n' "${name##*/}" "$(cat "$file" 2>/dev/null || echo -1)"
done | awk -v wall="$((now / 100 + 116444736000000000))" -v up="$up" '
    BEGIN { printf "{\"perf\":[" }
    FILENAME != "/proc/net/dev" { speed[$1] = $2; next }
    FNR > 2 {
        sub(/:/, " ")
        if ($1 == "lo") next
        name = $1
        gsub(/["\\]/, "_", name)
        bandwidth = (speed[$1] > 0) ? sprintf("%.0f", speed[$1] * 1000000) : "null"
        printf "%s{\"Name\":\"%s\",\"BytesReceivedPersec\":%s,\"BytesSentPersec\":%s,\"PacketsReceivedPersec\":%s,\"PacketsSentPersec\":%s,", (rows++ ? "," : ""), name, $2, $10, $3, $11
        printf "\"PacketsReceivedErrors\":%s,\"PacketsOutboundErrors\":%s,\"PacketsReceivedDiscarded\":%s,\"PacketsOutboundDiscarded\":%s,", $4, $12, $5, $13
        printf "\"OutputQueueLength\":null,\"CurrentBandwidth\":%s,\"Timestamp_Sys100NS\":%s,\"Timestamp_PerfTime\":%s,\"Frequency_PerfTime\":1000000000}", bandwidth, wall, up
    }
    END { print "]}" }
' - /proc/net/dev
