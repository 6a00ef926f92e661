# Sessions of systemd-logind, else what who tells of the terminals.
{
    if [ -d /run/systemd/system ] && command -v loginctl >/dev/null 2>&1 && ids=$(loginctl list-sessions --no-legend --no-pager 2>/dev/null); then
        echo '#logind'
        ids=$(printf '%s\n' "$ids" | awk 'NR <= 500 && $1 ~ /^[A-Za-z0-9_]+$/ { print $1 }')
        # shellcheck disable=SC2086
        [ -z "$ids" ] || loginctl show-session $ids --no-pager --property=Id,User,Name,Class,State,Seat 2>/dev/null
        echo
    elif command -v who >/dev/null 2>&1; then
        echo '#who'
        who 2>/dev/null | awk 'NR <= 500'
    fi
} | awk "$rmm_awk"'
    function session(name, state, seat) {
        if (name == "") return
        if (state == "active") active++; else inactive++
        if (seat && console == "") console = name
        if (!(name in seen)) { seen[name] = 1; logons = logons (logons == "" ? "" : ",") "{\"KeyName\":" text(name) ",\"USERDOMAIN\":null,\"USERNAME\":" text(name) "}" }
    }
    function flush() {
        if (value["Class"] == "user" && value["State"] != "closing") session(value["Name"] "", value["State"], value["Seat"] != "")
        split("", value)
    }
    /^#(logind|who)$/ { from = $0; next }
    from == "#who" { session($1, "active", $2 ~ /^(tty|console|:)/); next }
    $0 == "" { flush(); next }
    { at = index($0, "="); if (at) value[substr($0, 1, at - 1)] = substr($0, at + 1) }
    END {
        flush()
        printf "{\"sessions\":["
        if (from != "") printf "{\"ActiveSessions\":%d,\"InactiveSessions\":%d,\"TotalSessions\":%d}", active, inactive, active + inactive
        printf "],\"computer\":[{\"UserName\":%s}],\"logons\":[%s],\"notes\":[%s]}\n", text(console), logons, (from == "" ? "{\"Source\":\"logons\",\"Reason\":\"unsupported\"}" : "")
    }
'
