# The clock as Windows has it: 100 ns since 1601, and nanoseconds since boot.
now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
set -- $(date -u '+%Y %m %d %H %M %S')
boot=$(awk '$1 == "btime" { print $2 }' /proc/stat)
processes=0
for folder in /proc/[0-9]*; do processes=$((processes + 1)); done
threads=$(awk '{ split($4, part, "/"); print part[2] }' /proc/loadavg)
processors=$(awk '/^cpu[0-9]/ { n++ } END { print n }' /proc/stat)
# What waits for a processor is what could run, without what does run.
queue=$(awk -v n="$processors" '$1 == "procs_running" { print ($2 > n) ? $2 - n : 0 }' /proc/stat)
switches=$(awk '$1 == "ctxt" { print $2 }' /proc/stat)
printf '{"os":[{"CSName":"%s","LastBootUpTime":"%s"}],' "$(hostname | tr -cd 'A-Za-z0-9._-')" "$(date -u -d "@$boot" '+%Y-%m-%dT%H:%M:%SZ')"
printf '"utc":[{"Year":%d,"Month":%d,"Day":%d,"Hour":%d,"Minute":%d,"Second":%d}],' "$1" "${2#0}" "${3#0}" "${4#0}" "${5#0}" "${6#0}"
printf '"perf":[{"Processes":%s,"Threads":%s,"ProcessorQueueLength":%s,"ContextSwitchesPersec":%s,"SystemCallsPersec":null,' "$processes" "$threads" "$queue" "$switches"
printf '"Timestamp_Sys100NS":%s,"Timestamp_PerfTime":%s,"Frequency_PerfTime":1000000000}],' "$((now / 100 + 116444736000000000))" "$up"
printf '"computer":[{"NumberOfLogicalProcessors":%s}]}\n' "$processors"
