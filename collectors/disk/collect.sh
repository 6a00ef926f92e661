# Whole disks that stand on no other ones, so that nothing counts twice. Sectors are of 512 bytes, times in milliseconds.
now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
for folder in /sys/block/*; do
    [ -d "$folder/slaves" ] || continue
    for slave in "$folder"/slaves/*; do [ -e "$slave" ] && continue 2; done
    printf '%s\n' "${folder##*/}"
done | awk -v wall="$((now / 100 + 116444736000000000))" -v up="$up" '
    function show(name, r, w, rb, wb, rt, wt, all, busy, disks) {
        printf "%s{\"Name\":\"%s\",\"DiskReadsPersec\":%.0f,\"DiskWritesPersec\":%.0f,\"DiskReadBytesPersec\":%.0f,\"DiskWriteBytesPersec\":%.0f,", (rows++ ? "," : ""), name, r, w, rb * 512, wb * 512
        printf "\"AvgDiskReadQueueLength\":%.0f,\"AvgDiskWriteQueueLength\":%.0f,\"AvgDiskQueueLength\":%.0f,", rt * 10000, wt * 10000, all * 10000
        printf "\"PercentIdleTime\":%.0f,\"PercentIdleTime_Base\":%.0f,\"SplitIOPerSec\":null,", (up / 100) * disks - busy * 10000, (up / 100) * disks
        printf "\"Timestamp_Sys100NS\":%s,\"Timestamp_PerfTime\":%s,\"Frequency_PerfTime\":1000000000}", wall, up
    }
    BEGIN { printf "{\"perf\":[" }
    FILENAME != "/proc/diskstats" { whole[$1] = 1; next }
    !($3 in whole) || $3 ~ /^(loop|ram|zram|sr|fd)[0-9]/ { next }
    {
        show($3, $4, $8, $6, $10, $7, $11, $14, $13, 1)
        disks++; r += $4; w += $8; rb += $6; wb += $10; rt += $7; wt += $11; all += $14; busy += $13
    }
    END { if (disks) show("_Total", r, w, rb, wb, rt, wt, all, busy, disks); print "]}" }
' - /proc/diskstats
