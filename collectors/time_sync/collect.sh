# chrony, then ntpd, then systemd-timesyncd: the first that answers. timesyncd tells no offset.
export TZ=UTC
now=$(date -u '+%Y-%m-%dT%H:%M:%SZ')
units='chronyd.service chrony.service ntpd.service ntp.service ntpsec.service openntpd.service systemd-timesyncd.service'
unit=''
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
    # The first that runs, else the first that is there.
    # shellcheck disable=SC2086
    unit=$(systemctl show $units --no-pager --property=Id,LoadState,ActiveState,UnitFileState 2>/dev/null | awk -F= '
        $1 == "Id" || $1 == "LoadState" || $1 == "ActiveState" || $1 == "UnitFileState" { value[$1] = $2 }
        $0 == "" { flush() }
        END { flush(); print (running != "" ? running : there) }
        function flush(    line) {
            line = value["ActiveState"] "|" value["UnitFileState"]
            if (value["LoadState"] == "loaded" && value["ActiveState"] == "active" && running == "") running = line
            else if (value["LoadState"] == "loaded" && there == "") there = line
            split("", value)
        }
    ')
fi
{
    if command -v chronyc >/dev/null 2>&1 && line=$(chronyc -n -c tracking 2>/dev/null) && [ -n "$line" ]; then
        printf 'chrony %s\n' "$line"
        chronyc -n -c sources 2>/dev/null | awk 'NR <= 64 { print "source " $0 }'
    elif command -v ntpq >/dev/null 2>&1 && line=$(ntpq -n -c 'rv 0 stratum,offset,rootdelay,refid,reftime' 2>/dev/null | tr '\n' ' ') && [ -n "$line" ]; then
        printf 'ntp %s\n' "$line"
        ntpq -pn 2>/dev/null | awk 'NR > 2 && NR <= 66 { print "peer " $0 }'
    elif command -v timedatectl >/dev/null 2>&1 && lines=$(timedatectl show-timesync --all 2>/dev/null) && [ -n "$lines" ]; then
        stamp=$(stat -c %Y /run/systemd/timesync/synchronized 2>/dev/null || stat -c %Y /var/lib/systemd/timesync/clock 2>/dev/null || true)
        printf 'stamp %s\n' "$stamp"
        printf '%s\n' "$lines" | awk 'NR <= 64 { print "timesync " $0 }'
    fi
} | awk -v unit="$unit" -v now="$now" "$rmm_awk"'
    function decimal(v) { return v ~ /^[+-]?[0-9]+(\.[0-9]+)?$/ ? v : "" }
    function micro(v, by) { if (decimal(v) == "") return "null"; v = v * by; return sprintf("%.0f", v < 0 ? -v : v) }
    function hex(digits,    i, v) { v = 0; for (i = 1; i <= length(digits); i++) v = v * 16 + index("0123456789abcdef", substr(tolower(digits), i, 1)) - 1; return v }
    BEGIN { offset = delay = sources = stratum = synced = "null" }
    { kind = $1; sub(/^[a-z]+ /, "") }
    kind == "chrony" {
        split($0, part, ","); found = 1
        offset = micro(part[5] "", 1000000); delay = micro(part[11] "", 1000000); stratum = number(part[3] "")
        split(part[4], whole, "."); if (whole[1] > 0) synced = moment(whole[1] "")
        name = part[2]; sources = 0
    }
    kind == "source" {
        split($0, part, ",")
        servers = servers (servers == "" ? "" : " ") part[3]
        if (part[2] ~ /^[*+-]$/) sources++
    }
    kind == "ntp" {
        found = 1; sources = 0; n = split($0, part, /, */)
        for (i = 1; i <= n; i++) { split(part[i], pair, "="); gsub(/[" ]/, "", pair[2]); sub(/^ +/, "", pair[1]); value[pair[1]] = pair[2] }
        offset = micro(value["offset"] "", 1000); delay = micro(value["rootdelay"] "", 1000); stratum = number(value["stratum"] ""); name = value["refid"]
        # Seconds since 1900 in hexadecimal
        split(value["reftime"], part, "."); sub(/^0x/, "", part[1])
        if (length(part[1]) == 8 && part[1] !~ /[^0-9a-fA-F]/ && hex(part[1] "") > 2208988800) synced = moment(sprintf("%.0f", hex(part[1] "") - 2208988800))
    }
    kind == "peer" { mark = substr($0, 1, 1); peer = $1; sub(/^[^0-9a-fA-F:.]/, "", peer); if (mark ~ /[*+#o-]/) sources++; servers = servers (servers == "" ? "" : " ") peer }
    kind == "stamp" && $1 ~ /^[0-9]+$/ { stamp = $1 }
    kind == "timesync" {
        found = 1; at = index($0, "="); key = substr($0, 1, at - 1); rest = substr($0, at + 1)
        if (key ~ /^(LinkNTPServers|SystemNTPServers|FallbackNTPServers)$/ && servers == "") servers = rest
        if (key == "ServerName") name = rest
        if (key == "NTPMessage" && match(rest, /Stratum=[0-9]+/)) { stratum = substr(rest, RSTART + 8, RLENGTH - 8); synced = moment(stamp) }
    }
    END {
        split(unit, state, "|")
        modes["enabled"] = modes["enabled-runtime"] = "Auto"; modes["disabled"] = modes["masked"] = "Disabled"
        printf "{\"counters\":["
        if (offset != "null" || sources != "null") printf "{\"ComputedTimeOffset\":%s,\"NTPRoundtripDelay\":%s,\"NTPClientTimeSourceCount\":%s}", offset, delay, sources
        printf "],\"service\":["
        if (unit != "" || found) printf "{\"State\":\"%s\",\"StartMode\":%s}", (found || state[1] == "active" ? "Running" : "Stopped"), text(state[2] in modes ? modes[state[2]] : state[2] == "" ? "" : "Manual")
        printf "],\"settings\":[{\"Type\":\"%s\",\"NtpServer\":%s}],\"host\":[],\"status\":[", (found || state[1] == "active" ? "NTP" : "NoSync"), text(servers)
        if (found) printf "{\"TimeCreated\":\"%s\",\"Stratum\":%s,\"LastSync\":%s,\"Source\":%s,\"SyncError\":null}", now, stratum, synced, text(name)
        printf "],\"notes\":[%s]}\n", (unit == "" && !found ? "{\"Source\":\"service\",\"Reason\":\"unsupported\"}" : "")
    }
'
