# Interfaces from /sys, addresses and routes from ip. Those that containers come and go with are left out.
value=''
get() { value=''; { read -r value <"$1"; } 2>/dev/null || true; }
{
    n=0
    for folder in /sys/class/net/*; do
        name=${folder##*/}
        case $name in lo | veth* | cali* | '*') continue ;; esac
        n=$((n + 1))
        [ "$n" -le 500 ] || break
        printf '#nic %s\n' "$name"
        for item in ifindex address flags operstate carrier duplex speed mtu type; do
            get "$folder/$item"
            printf '%s %s\n' "$item" "$value"
        done
        if [ -e "$folder/device" ]; then
            driver=$(readlink "$folder/device/driver" 2>/dev/null || true)
            get "$folder/device/driver/module/version"
            printf 'hardware 1\ndriver %s\nversion %s\n' "${driver##*/}" "$value"
        fi
        if [ -d "$folder/wireless" ] || [ -e "$folder/phy80211" ]; then printf 'wireless 1\n'; fi
        get "/proc/net/vlan/$name"
        printf 'vlan %s\n' "$value"
    done
    printf '#resolv\n'
    awk 'NR <= 100' /etc/resolv.conf 2>/dev/null
    if command -v ip >/dev/null 2>&1; then
        printf '#addr\n'
        ip -o addr show 2>/dev/null | awk 'NR <= 2000'
        printf '#route4\n'
        ip -o -4 route show default 2>/dev/null | awk 'NR <= 100'
        printf '#route6\n'
        ip -o -6 route show default 2>/dev/null | awk 'NR <= 100'
    else
        printf '#lacking\n'
    fi
} | awk "$rmm_awk"'
    function bit(digits, place) { return index("13579bdf", substr(digits, length(digits) - place, 1)) > 0 }
    function mask(bits,    i, out, octet) {
        split("128 192 224 240 248 252 254", octet, " ")
        for (i = 1; i <= 4; i++) { out = out (i > 1 ? "." : "") (bits >= 8 ? 255 : bits > 0 ? octet[bits + 0] : 0); bits -= 8 }
        return out
    }
    function array(items) { return items == "" ? "null" : "[" items "]" }
    function adapter(name,    carrier, state, speed, address, medium) {
        carrier = it[name, "carrier"]; state = it[name, "operstate"]; speed = it[name, "speed"]; address = toupper(it[name, "address"]); gsub(/:/, "", address)
        medium = it[name, "wireless"] ? 9 : it[name, "type"] == 1 ? 14 : it[name, "type"] == 32 ? 11 : 0
        printf "%s{\"Name\":%s,\"InterfaceDescription\":%s,\"InterfaceIndex\":%s,\"NetworkAddresses\":%s,", (rows++ ? "," : ""), text(name), text(it[name, "driver"] ""), number(it[name, "ifindex"] ""), array(address ~ /^[0-9A-F]+$/ && address !~ /^0+$/ ? text(address) : "")
        printf "\"HardwareInterface\":%s,\"Virtual\":%s,\"InterfaceAdminStatus\":%s,", (it[name, "hardware"] ? "true" : "false"), (it[name, "hardware"] ? "false" : "true"), (it[name, "flags"] == "" ? "null" : bit(it[name, "flags"], 0) ? 1 : 2)
        printf "\"InterfaceOperationalStatus\":%s,\"MediaConnectState\":%s,", (state in states ? states[state] : 4), (carrier == "1" ? 1 : carrier == "0" ? 2 : 0)
        printf "\"MediaDuplexState\":%s,\"NdisPhysicalMedium\":%s,\"ReceiveLinkSpeed\":%s,", (it[name, "duplex"] == "full" ? 2 : it[name, "duplex"] == "half" ? 1 : 0), medium, (speed > 0 ? sprintf("%.0f", speed * 1000000) : "null")
        printf "\"MtuSize\":%s,\"VlanID\":%s,\"DriverProvider\":null,\"DriverVersionString\":%s,\"DriverDate\":null}", number(it[name, "mtu"] ""), number(it[name, "vlan"] ""), text(it[name, "version"] "")
    }
    function routes(family,    i, out) {
        out = ""
        for (i = 1; i <= hops[family]; i++) out = out (out == "" ? "" : ",") hop[family, i]
        return out
    }
    BEGIN {
        states["up"] = 1; states["down"] = 2; states["testing"] = 3; states["unknown"] = 4; states["dormant"] = 5; states["notpresent"] = 6; states["lowerlayerdown"] = 7
        printf "{\"adapter\":["
    }
    /^#nic / { part = "#nic"; name = substr($0, 6); order[++nics] = name; next }
    /^#(resolv|addr|route4|route6|lacking)$/ { part = $0; if (part == "#lacking") lacking = 1; next }
    part == "#nic" && $1 == "vlan" { if (match($0, /VID: [0-9]+/)) it[name, "vlan"] = substr($0, RSTART + 5, RLENGTH - 5); next }
    part == "#nic" { it[name, $1] = $2; next }
    part == "#resolv" && $1 == "nameserver" { servers = servers (servers == "" ? "" : ",") text($2); next }
    part == "#resolv" && ($1 == "search" || $1 == "domain") { suffix = $2; next }
    part == "#addr" && $3 ~ /^inet6?$/ {
        split($4, one, "/"); nic = $2; sub(/@.*/, "", nic)
        ips[nic] = ips[nic] (ips[nic] == "" ? "" : ",") text(one[1] ""); lengths[nic] = lengths[nic] (lengths[nic] == "" ? "" : ",") text($3 == "inet" ? mask(one[2] == "" ? 32 : one[2]) : one[2] == "" ? 128 : one[2])
        if ($3 == "inet" && / dynamic /) dynamic[nic] = 1
        next
    }
    part ~ /^#route/ && $1 == "default" {
        via = dev = metric = ""
        for (i = 2; i < NF; i++) { if ($i == "via") via = $(i + 1); if ($i == "dev") dev = $(i + 1); if ($i == "metric") metric = $(i + 1) }
        if (dev == "" || !((dev, "ifindex") in it)) next
        hop[part, ++hops[part]] = "{\"InterfaceIndex\":" number(it[dev, "ifindex"] "") ",\"NextHop\":" text(via) ",\"RouteMetric\":" number(metric) ",\"InterfaceMetric\":null}"
        if (via != "") gateways[dev] = gateways[dev] (gateways[dev] == "" ? "" : ",") text(via)
        if (/ proto dhcp/) dynamic[dev] = 1
    }
    END {
        for (i = 1; i <= nics; i++) adapter(order[i] "")
        printf "],\"config\":["
        for (i = 1; i <= nics; i++) {
            name = order[i]
            if (ips[name] == "") continue
            # Name servers are those of the whole machine; they stand with the interface that leads out.
            printf "%s{\"InterfaceIndex\":%s,\"IPAddress\":%s,\"IPSubnet\":%s,\"DefaultIPGateway\":%s,", (told++ ? "," : ""), number(it[name, "ifindex"] ""), array(ips[name] ""), array(lengths[name] ""), array(gateways[name] "")
            printf "\"DNSServerSearchOrder\":%s,\"DNSDomain\":%s,\"DHCPEnabled\":%s,\"DHCPServer\":null,\"DHCPLeaseExpires\":null}", array(gateways[name] == "" ? "" : servers), text(gateways[name] == "" ? "" : suffix), (dynamic[name] ? "true" : "false")
        }
        printf "],\"profile\":[],\"route4\":[%s],\"route6\":[%s],\"notes\":[%s]}\n", routes("#route4"), routes("#route6"), (lacking ? "{\"Source\":\"config\",\"Reason\":\"unsupported\"}" : "")
    }
'
