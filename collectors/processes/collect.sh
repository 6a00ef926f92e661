# From /proc. Input and output of another account's processes, and its open files, are for root alone: null.
hz=$(getconf CLK_TCK 2>/dev/null || echo 100)
page=$(getconf PAGESIZE 2>/dev/null || echo 4096)
now=$(date -u +%s%N)
case $now in *[!0-9]*) now=$(date -u +%s)000000000 ;; esac
up=$(awk '{ printf "%.0f", $1 * 1000000000 }' /proc/uptime)
boot=$(awk '$1 == "btime" { print $2 }' /proc/stat)
processors=$(awk '/^cpu[0-9]/ { n++ } END { print n }' /proc/stat)
{
    # The size of the folder is the number of open files since Linux 6.2, and 0 before.
    stat -c '%n:%s' /proc/[0-9]*/fd 2>/dev/null
    grep -as '' /proc/sys/fs/file-nr /proc/[0-9]*/statm /proc/[0-9]*/io /proc/[0-9]*/stat /dev/null
    true
} | awk -v hz="$hz" -v page="$page" -v wall="$((now / 100 + 116444736000000000))" -v up="$up" -v boot="$boot" -v processors="$processors" "$rmm_awk"'
    function show(name, pid, started, busy, resident, own, io, open_files, threads) {
        printf "%s{\"Name\":%s,\"IDProcess\":%s,\"ElapsedTime\":%s,\"PercentProcessorTime\":%.0f,\"WorkingSet\":%.0f,\"PrivateBytes\":%s,", (rows++ ? "," : ""), text(name), pid, started, busy * 10000000 / hz, resident * page, (own < 0 ? "null" : sprintf("%.0f", own * page))
        printf "\"IODataBytesPersec\":%s,\"HandleCount\":%s,\"ThreadCount\":%.0f,\"Timestamp_Sys100NS\":%s,\"Timestamp_PerfTime\":%s,\"Frequency_PerfTime\":1000000000}", number(io), number(open_files), threads, wall, up
    }
    function since(ticks) { return sprintf("%.0f", (boot + ticks / hz) * 10000000 + 116444736000000000) }
    # The threads of the kernel itself are one row; a large machine has thousands.
    function process(pid, line,    from, to, part, name, busy, resident, own) {
        from = index(line, "("); to = match(line, /\)[^)]*$/)
        name = substr(line, from + 1, to - from - 1); split(substr(line, to + 2), part, " ")
        busy = part[12] + part[13]; resident = part[22] < 0 ? 0 : part[22]
        own = pid in private ? private[pid] : -1
        all_busy += busy; all_resident += resident; all_threads += part[18]
        if (own > 0) all_private += own
        if (part[2] == 2 || name == "kthreadd") { kernel_busy += busy; kernel_threads += part[18]; return }
        if (rows < 4990) show(name, pid, since(part[20]), busy, resident, own, io[pid], (any_open ? open_files[pid] : ""), part[18])
    }
    BEGIN { printf "{\"process\":[" }
    {
        at = index($0, ":"); file = substr($0, 1, at - 1); line = substr($0, at + 1)
        if (file == "/proc/sys/fs/file-nr") { split(line, part, "\t"); handles = part[1]; next }
        split(file, folder, "/"); pid = folder[3]
    }
    folder[4] == "fd" { open_files[pid] = line; if (line > 0) any_open = 1; next }
    folder[4] == "statm" { split(line, part, " "); private[pid] = part[2] - part[3]; next }
    folder[4] == "io" { split(line, part, " "); if (part[1] == "rchar:" || part[1] == "wchar:") io[pid] = sprintf("%.0f", io[pid] + part[2]); next }
    # A name may hold a line feed, but is too short to hold a whole line.
    folder[4] == "stat" {
        line = held[pid] line
        if (line ~ /\) [A-Za-z]( -?[0-9]+)+ *$/ && split(line, part, " ") > 40) process(pid, line)
        else held[pid] = line " "
    }
    END {
        if (kernel_threads) show("kthreadd", 2, since(0), kernel_busy, 0, 0, "", "", kernel_threads)
        show("_Total", 0, "null", all_busy, all_resident, all_private, "", handles, all_threads)
        printf "],\"computer\":[{\"NumberOfLogicalProcessors\":%s}]}\n", number(processors)
    }
'
