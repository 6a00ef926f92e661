# systemd where it runs; else what /etc/init.d can tell. A socket, timer, path or D-Bus activation is a trigger.
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
    systemctl show '*.service' --no-pager --property=Id,Description,ActiveState,SubState,UnitFileState,User,ExecMainStatus,MainPID,TriggeredBy,Type,RemainAfterExit 2>/dev/null
    echo
elif [ -d /etc/init.d ]; then
    for file in /etc/init.d/*; do
        [ -x "$file" ] || continue
        name=${file##*/}
        case $name in README | skeleton | rc | rcS | halt | reboot | single) continue ;; esac
        mode=static
        for link in /etc/rc[2-5].d/S[0-9][0-9]"$name"; do [ -e "$link" ] && mode=enabled; done
        pid=0
        state=unknown
        for pidfile in "/run/$name.pid" "/run/$name/$name.pid" "/var/run/$name.pid"; do
            [ -r "$pidfile" ] || continue
            read -r found <"$pidfile" || true
            case $found in '' | *[!0-9]*) continue ;; esac
            if [ -d "/proc/$found" ]; then pid=$found state=active; else state=inactive; fi
            break
        done
        printf 'Id=%s.service\nDescription=%s\nActiveState=%s\nUnitFileState=%s\nMainPID=%s\n\n' "$name" "$name" "$state" "$mode" "$pid"
    done
fi | awk '
    function text(value,    out, i, c) {
        if (value == "") return "null"
        out = ""
        for (i = 1; i <= length(value); i++) {
            c = substr(value, i, 1)
            if (c == "\"" || c == "\\") out = out "\\" c
            else if (c < " ") out = out " "
            else out = out c
        }
        return "\"" out "\""
    }
    function flush(    name, state, mode) {
        name = unit["Id"]
        if (name ~ /\.service$/ && name !~ /@\.service$/) {
            sub(/\.service$/, "", name)
            state = states[unit["ActiveState"]]
            # A unit that does its work once and ends is not a stopped service.
            if (unit["Type"] == "oneshot" && unit["ActiveState"] == "inactive") state = "Completed"
            mode = unit["UnitFileState"] in modes ? modes[unit["UnitFileState"]] : "Manual"
            printf "%s{\"Name\":%s,\"DisplayName\":%s,\"State\":%s,\"StartMode\":%s,\"DelayedAutoStart\":false,", (rows++ ? "," : ""), text(name), text(unit["Description"] ""), text(state), text(mode)
            printf "\"StartName\":%s,\"ExitCode\":%s,\"ProcessId\":%s}", text(unit["User"] ""), (unit["ExecMainStatus"] ~ /^[0-9]+$/ ? unit["ExecMainStatus"] : "null"), (unit["MainPID"] ~ /^[0-9]+$/ ? unit["MainPID"] : "null")
            if (unit["TriggeredBy"] != "" || unit["Type"] == "dbus") triggered = triggered (triggered == "" ? "" : ",") "{\"KeyName\":" text(name) "}"
        }
        split("", unit)
    }
    BEGIN {
        states["active"] = "Running"; states["reloading"] = "Running"; states["inactive"] = "Stopped"; states["failed"] = "Stopped"
        states["activating"] = "Start Pending"; states["deactivating"] = "Stop Pending"; states["unknown"] = "Unknown"
        modes["enabled"] = "Auto"; modes["enabled-runtime"] = "Auto"; modes["disabled"] = "Disabled"; modes["masked"] = "Disabled"
        printf "{\"service\":["
    }
    $0 == "" { flush(); next }
    { at = index($0, "="); if (at) unit[substr($0, 1, at - 1)] = substr($0, at + 1) }
    END { flush(); printf "],\"triggers\":[%s]}\n", triggered }
'
