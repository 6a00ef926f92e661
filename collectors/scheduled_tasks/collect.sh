# Timers of systemd with the result of what they start, and the entries of cron, whose commands are not taken: they may
# hold secrets. An entry of cron has no results.
export TZ=UTC
{
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
        systemctl show '*.timer' '*.service' --all --no-pager --property=Id,ActiveState,SubState,LoadState,FragmentPath,Unit,LastTriggerUSec,NextElapseUSecRealtime,User,Result,ExecMainStatus 2>/dev/null
        echo
    fi
    echo '#cron'
    for file in /etc/crontab /etc/cron.d/*; do
        case ${file##*/} in *.* | *~) continue ;; esac
        if [ ! -f "$file" ]; then continue; fi
        if [ ! -r "$file" ]; then echo '#denied'; continue; fi
        printf '#file %s\n' "$file"
        tr -d '\000' <"$file" | awk 'NR <= 500 && !/^#/'
    done
    for folder in /var/spool/cron/crontabs /var/spool/cron; do
        [ -d "$folder" ] || continue
        if [ ! -r "$folder" ] || [ ! -x "$folder" ]; then echo '#denied'; break; fi
        for file in "$folder"/*; do
            [ -f "$file" ] || continue
            if [ ! -r "$file" ]; then echo '#denied'; continue; fi
            printf '#user %s\n' "$file"
            tr -d '\000' <"$file" | awk 'NR <= 500 && !/^#/'
        done
        break
    done
    for file in /etc/cron.hourly/* /etc/cron.daily/* /etc/cron.weekly/* /etc/cron.monthly/*; do
        case ${file##*/} in '*' | *.*) continue ;; esac
        if [ -x "$file" ]; then printf '#run %s\n' "$file"; fi
    done
} | awk "$rmm_awk"'
    # "Wed 2026-11-25 20:49:00 UTC", in which systemd may give microseconds too
    function time(v,    part) {
        if (split(v, part, " ") < 4 || part[2] !~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]$/ || part[3] !~ /^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]/ || part[4] != "UTC") return "null"
        return "\"" part[2] "T" substr(part[3], 1, 8) "Z\""
    }
    function task(path, own, state, account, last, result, next_) {
        if (rows >= 2000) return
        printf "%s{\"Path\":%s,\"Own\":%s,\"State\":%s,\"Enabled\":%s,\"Hidden\":false,\"Account\":%s,", (rows++ ? "," : ""), text(path), own, state, (state == 1 ? "false" : "true"), text(account)
        printf "\"Elevated\":%s,\"LastRun\":%s,\"LastResult\":%s,\"NextRun\":%s,\"MissedRuns\":null}", (account == "root" ? "true" : "false"), last, result, next_
    }
    function unit(    name) {
        name = value["Id"]
        if (name ~ /\.timer$/ && value["LoadState"] == "loaded") { order[++timers] = name; for (key in value) timer[name, key] = value[key] }
        if (name ~ /\.service$/) for (key in value) service[name, key] = value[key]
        split("", value)
    }
    function timers_told(    i, name, of, state, result, last) {
        for (i = 1; i <= timers; i++) {
            name = order[i]; of = timer[name, "Unit"]; last = time(timer[name, "LastTriggerUSec"] "")
            state = timer[name, "ActiveState"] != "active" ? 1 : service[of, "ActiveState"] == "activating" ? 4 : 3
            result = number(service[of, "ExecMainStatus"] "")
            # Ended by a signal, a timeout or the watchdog, or not started at all: no exit code tells it.
            if (result == 0 && service[of, "Result"] !~ /^(success|)$/) result = 1
            task(name, (timer[name, "FragmentPath"] ~ /^\/(usr\/)?lib\// ? "true" : "false"), state, (service[of, "User"] == "" ? "root" : service[of, "User"]), last, (last == "null" ? "null" : result), time(timer[name, "NextElapseUSecRealtime"] ""))
        }
    }
    # The account of a line of cron: the word after five times or one @word. Settings have an equals sign before them.
    function entry(    fields) {
        if ($0 ~ /^[ \t]*$/ || $0 ~ /^[ \t]*#/ || $1 ~ /^[A-Za-z_][A-Za-z0-9_]*(=|$)/) return
        fields = $1 ~ /^@[a-z]+$/ ? 1 : 5
        if (NF < fields + 1 + (user == "")) return
        task(file "#" ++entries, "false", 3, (user == "" ? $(fields + 1) : user), "null", "null", "null")
    }
    BEGIN { printf "{\"task\":[" }
    $0 == "#cron" { unit(); timers_told(); cron = 1; next }
    !cron && $0 == "" { unit(); next }
    !cron { at = index($0, "="); if (at) value[substr($0, 1, at - 1)] = substr($0, at + 1); next }
    $0 == "#denied" { notes = "{\"Source\":\"task\",\"Reason\":\"access_denied\"}"; next }
    /^#file / { file = substr($0, 7); user = ""; entries = 0; next }
    /^#user / { file = user = substr($0, 7); sub(/^.*\//, "", user); entries = 0; next }
    /^#run / { task(substr($0, 6), "false", 3, "root", "null", "null", "null"); next }
    { entry() }
    END { printf "],\"notes\":[%s]}\n", notes }
'
