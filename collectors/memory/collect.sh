now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
mode=$(cat /proc/sys/vm/overcommit_memory 2>/dev/null || echo 0)
# The commit limit binds only where the kernel is told not to overcommit (mode 2); elsewhere there is none.
awk -v wall="$((now / 100 + 116444736000000000))" -v up="$up" -v mode="$mode" '
    FILENAME == "/proc/meminfo" { sub(":", "", $1); kb[$1] = $2; next }
    $1 == "pswpin" || $1 == "pswpout" { pages += $2 }
    END {
        free = ("MemAvailable" in kb) ? kb["MemAvailable"] : kb["MemFree"] + kb["Buffers"] + kb["Cached"]
        limit = (mode == 2) ? sprintf("%.0f", kb["CommitLimit"] * 1024) : "null"
        printf "{\"os\":[{\"TotalVisibleMemorySize\":%.0f,\"FreePhysicalMemory\":%.0f}],", kb["MemTotal"], free
        printf "\"perf\":[{\"AvailableBytes\":%.0f,\"CommittedBytes\":%.0f,\"CommitLimit\":%s,", free * 1024, kb["Committed_AS"] * 1024, limit
        printf "\"PagesPersec\":%.0f,\"PoolPagedBytes\":%.0f,\"PoolNonpagedBytes\":%.0f,", pages, kb["SReclaimable"] * 1024, kb["SUnreclaim"] * 1024
        printf "\"FreeSystemPageTableEntries\":null,\"Timestamp_Sys100NS\":%s,\"Timestamp_PerfTime\":%s,\"Frequency_PerfTime\":1000000000}],", wall, up
        printf "\"pagefile\":["
        if (kb["SwapTotal"] > 0) printf "{\"Name\":\"swap\",\"AllocatedBaseSize\":%.0f,\"CurrentUsage\":%.0f}", kb["SwapTotal"] / 1024, (kb["SwapTotal"] - kb["SwapFree"]) / 1024
        print "]}"
    }
' /proc/meminfo /proc/vmstat
