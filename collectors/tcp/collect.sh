# Linux counts IPv4 and IPv6 together: all of it stands in v4, and v6 has nothing.
now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
awk -v wall="$((now / 100 + 116444736000000000))" -v up="$up" "$rmm_awk"'
    $1 != "Tcp:" { next }
    !heads { heads = split($0, head); next }
    { for (i = 2; i <= heads; i++) value[head[i]] = $i }
    END {
        printf "{\"v4\":[{\"ConnectionsEstablished\":%s,\"ConnectionsActive\":%s,\"ConnectionsPassive\":%s,", number(value["CurrEstab"] ""), number(value["ActiveOpens"] ""), number(value["PassiveOpens"] "")
        printf "\"ConnectionFailures\":%s,\"ConnectionsReset\":%s,\"SegmentsReceivedPersec\":%s,", number(value["AttemptFails"] ""), number(value["EstabResets"] ""), number(value["InSegs"] "")
        printf "\"SegmentsSentPersec\":%s,\"SegmentsRetransmittedPersec\":%s,", number(value["OutSegs"] ""), number(value["RetransSegs"] "")
        printf "\"Timestamp_Sys100NS\":%s,\"Timestamp_PerfTime\":%s,\"Frequency_PerfTime\":1000000000}],\"v6\":[],\"notes\":[{\"Source\":\"v6\",\"Reason\":\"unsupported\"}]}\n", wall, up
    }
' /proc/net/snmp
