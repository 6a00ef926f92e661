# DMI tables where there are any; serial number and UUID are for root alone.
dmi=/sys/class/dmi/id
text() { if [ -n "$1" ]; then rmm_text "$1"; else printf null; fi; }
read_dmi() { text "$(cat "$dmi/$1" 2>/dev/null | tr -d '\0' || true)"; }
memory=$(awk '$1 == "MemTotal:" { printf "%.0f", $2 * 1024 }' /proc/meminfo)
date=$(awk -F/ 'NF == 3 { printf "%04d-%02d-%02dT00:00:00Z", $3, $1, $2 }' "$dmi/bios_date" 2>/dev/null || true)
chassis=$(cat "$dmi/chassis_type" 2>/dev/null || true)
case $chassis in '' | *[!0-9]*) chassis='' ;; *) chassis="{\"ChassisTypes\":[$chassis]}" ;; esac
printf '{"computer":[{"Manufacturer":%s,"Model":%s,"TotalPhysicalMemory":%s}],' "$(read_dmi sys_vendor)" "$(read_dmi product_name)" "${memory:-null}"
printf '"product":[{"UUID":%s,"IdentifyingNumber":%s}],' "$(read_dmi product_uuid)" "$(read_dmi product_serial)"
printf '"bios":[{"SerialNumber":%s,"SMBIOSBIOSVersion":%s,"ReleaseDate":%s}],' "$(read_dmi product_serial)" "$(read_dmi bios_version)" "$(text "$date")"
printf '"enclosure":[%s],"processor":[' "$chassis"
awk -F: '
    function value() { sub(/^[ \t]+/, "", $2); gsub(/["\\]/, "", $2); return $2 }
    { key = $1; gsub(/[ \t]+$/, "", key) }
    key == "processor" { socket = 0; logical++ }
    key == "physical id" { socket = value() }
    key == "model name" || key == "Hardware" { name = value() }
    key == "cpu cores" { cores[socket] = value() }
    key == "" || /^$/ { next }
    key == "processor" || key == "physical id" { sockets[socket] }
    END {
        for (one in sockets) count++
        if (!count) count = 1
        if (name == "") name = "unknown"
        known = 0
        for (one in cores) known += cores[one]
        for (n = 0; n < count; n++)
            printf "%s{\"Name\":\"%s\",\"NumberOfCores\":%d,\"NumberOfLogicalProcessors\":%d}", (n ? "," : ""), name, (known ? known : logical) / count, logical / count
    }
' /proc/cpuinfo
printf '],"disk":['
first=1
for folder in /sys/block/*; do
    case ${folder##*/} in loop* | ram* | zram* | sr* | fd* | dm-* | md*) continue ;; esac
    [ -e "$folder/device" ] || continue
    size=$(cat "$folder/size" 2>/dev/null || echo 0)
    [ "$first" -eq 1 ] || printf ,
    first=0
    printf '{"Model":%s,"Size":%s}' "$(text "$(cat "$folder/device/model" 2>/dev/null | sed 's/ *$//' || true)")" "$((size * 512))"
done
printf ']}\n'
