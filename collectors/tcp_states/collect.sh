# Lines of /proc/net/tcp: the fourth column is the state, the second ends in the local port, both in hexadecimal.
range=$(cat /proc/sys/net/ipv4/ip_local_port_range 2>/dev/null || echo 0 0)
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v range="$range" '
    function hex(digits,    i, value) {
        value = 0
        for (i = 1; i <= length(digits); i++) value = value * 16 + index("0123456789ABCDEF", substr(digits, i, 1)) - 1
        return value
    }
    BEGIN { split(range, edge, " "); ports = edge[2] > 0 ? edge[2] - edge[1] + 1 : 0 }
    $1 !~ /^[0-9]+:$/ { next }
    {
        count[$4]++; total++
        split($2, address, ":")
        if (!(address[2] in seen)) {
            seen[address[2]] = 1
            port = hex(address[2] "")
            if (ports > 0 && port >= edge[1] && port <= edge[2]) used++
        }
    }
    END {
        printf "{\"states\":[{\"Listen\":%d,\"SynSent\":%d,\"SynReceived\":%d,\"Established\":%d,", count["0A"], count["02"], count["03"] + count["0C"], count["01"]
        printf "\"FinWait\":%d,\"CloseWait\":%d,\"Closing\":%d,\"TimeWait\":%d,", count["04"] + count["05"], count["08"], count["0B"] + count["09"], count["06"]
        printf "\"Bound\":null,\"Total\":%d,\"DynamicPorts\":%s,\"DynamicUsed\":%s}]}\n", total, (ports > 0 ? ports : "null"), (ports > 0 ? used + 0 : "null")
    }
'
