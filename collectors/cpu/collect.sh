now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
ticks=$(getconf CLK_TCK 2>/dev/null || echo 100)
# /proc/stat: user nice system idle iowait irq softirq. Linux sums over all processors, Windows averages.
awk -v wall="$((now / 100 + 116444736000000000))" -v up="$up" -v ticks="$ticks" '
    function row(name, share) {
        unit = 10000000 / ticks / share
        frequency = (name in mhz) ? sprintf("%.0f", mhz[name]) : "null"
        printf "%s{\"Name\":\"%s\",\"PercentProcessorTime\":%.0f,\"PercentUserTime\":%.0f,", (rows++ ? "," : ""), name, ($5 + $6) * unit, ($2 + $3) * unit
        printf "\"PercentPrivilegedTime\":%.0f,\"PercentInterruptTime\":%.0f,\"PercentDPCTime\":%.0f,", ($4 + $7 + $8) * unit, $7 * unit, $8 * unit
        printf "\"ProcessorFrequency\":%s,\"Timestamp_Sys100NS\":%s,\"Timestamp_PerfTime\":%s,\"Frequency_PerfTime\":1000000000}", frequency, wall, up
    }
    BEGIN { printf "{\"perf\":[" }
    FILENAME == "/proc/cpuinfo" {
        if ($1 == "processor") { number = $3; processors++ }
        if ($1 == "cpu" && $2 == "MHz") { mhz["0," number] = $4; total += $4; mhz["_Total"] = total / processors }
        next
    }
    $1 == "cpu" { all = $0 }
    $1 ~ /^cpu[0-9]/ { count++; row("0," substr($1, 4), 1) }
    END { $0 = all; row("_Total", count); print "]}" }
' /proc/cpuinfo /proc/stat
