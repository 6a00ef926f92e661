# A user id stands as the SID S-1-22-1-<uid>, as Samba writes it; a second account of one id, with its number before it.
shadow=/etc/shadow
notes=''
if [ ! -r "$shadow" ]; then
    notes='{"Source":"times","Reason":"access_denied"}'
    shadow=/dev/null
fi
if command -v lastlog >/dev/null 2>&1; then logons=$(lastlog 2>/dev/null | awk 'NR <= 2000' || true); else logons=''; fi
{
    printf '%s\n' "$logons" | sed 's/^/lastlog /'
    sed 's/^/shadow /' "$shadow"
    sed 's/^/passwd /' /etc/passwd
} | tr -d '\000' | awk -v today="$(($(date -u +%s) / 86400))" -v notes="$notes" "$rmm_awk"'
    function truth(known, value) { return known ? (value ? "true" : "false") : "null" }
    function at(days) { return days ~ /^[0-9]+$/ && days > 0 ? moment(sprintf("%.0f", days * 86400)) : "null" }
    # "Wed Nov 25 20:49:00 +0000 2026" at the end of a line. No number of three digits: busybox takes 0200 for octal.
    function logon(line,    n, part, month, minutes) {
        n = split(line, part, " ")
        month = index("JanFebMarAprMayJunJulAugSepOctNovDec", part[n - 4])
        if (n < 7 || !month || part[n - 2] !~ /^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$/ || part[n - 1] !~ /^[+-][0-9][0-9][0-9][0-9]$/) return ""
        minutes = substr(part[n - 1], 2, 2) * 60 + substr(part[n - 1], 4)
        if (part[n - 1] ~ /^-/) minutes = -minutes
        return sprintf("%.0f", days(part[n] "", (month + 2) / 3, part[n - 3]) * 86400 + substr(part[n - 2], 1, 2) * 3600 + substr(part[n - 2], 4, 2) * 60 + substr(part[n - 2], 7, 2) - minutes * 60)
    }
    function days(y, m, d,    era, yoe, doy) {
        if (m <= 2) y--
        era = int(y / 400); yoe = y - era * 400; doy = int((153 * (m + (m > 2 ? -3 : 9)) + 2) / 5) + d - 1
        return era * 146097 + yoe * 365 + int(yoe / 4) - int(yoe / 100) + doy - 719468
    }
    BEGIN { printf "{\"account\":[" }
    $1 == "lastlog" { if (found = logon($0)) last[$2] = found; next }
    { kind = $1; sub(/^[a-z]+ /, ""); n = split($0, part, ":"); name = part[1] }
    kind == "shadow" { password[name] = part[2]; set[name] = part[3]; longest[name] = part[5]; expires[name] = part[8]; shadowed[name] = 1; next }
    n < 7 || part[3] !~ /^[0-9]+$/ || rows >= 2000 { next }
    {
        again = seen[part[3]]++
        sid = text("S-1-22-1-" (again ? again + 1 "-" : "") part[3])
        if (part[2] != "x") { password[name] = part[2]; known = 1 } else known = shadowed[name]
        over = expires[name] ~ /^[0-9]+$/ && expires[name] > 0 && expires[name] <= today
        full = part[5]; sub(/,.*/, "", full)
        printf "%s{\"SID\":%s,\"Name\":%s,\"FullName\":%s,\"Disabled\":%s,", (rows++ ? "," : ""), sid, text(name), text(full), truth(1, over || part[7] ~ /\/(nologin|false|sync|halt|shutdown)$/)
        printf "\"Lockout\":%s,\"PasswordRequired\":%s,", truth(known, password[name] ~ /^!+[^!*]/), truth(known, password[name] != "")
        printf "\"PasswordExpires\":%s,\"PasswordChangeable\":null}", truth(shadowed[name] "", longest[name] ~ /^[0-9]+$/ && longest[name] < 99999)
        if (shadowed[name] || name in last) times = times (times == "" ? "" : ",") "{\"SID\":" sid ",\"PasswordLastSet\":" at(set[name] "") ",\"LastLogon\":" moment(last[name] "") ",\"AccountExpires\":" at(expires[name] "") "}"
    }
    END { printf "],\"times\":[%s],\"notes\":[%s]}\n", times, (times == "" ? notes : "") }
'
