# Who can become root: accounts with user id 0, members of the groups that distributions let, and whom sudoers names.
# Ids stand as SIDs as Samba writes them: S-1-22-1-<uid>, S-1-22-2-<gid>. Of sudoers only the names are taken.
notes=''
[ -r /etc/sudoers ] || [ ! -e /etc/sudoers ] || notes='{"Source":"member","Reason":"access_denied"}'
for file in /etc/sudoers.d/*; do
    [ -r "$file" ] || [ ! -e "$file" ] || notes='{"Source":"member","Reason":"access_denied"}'
done
[ ! -d /etc/sudoers.d ] || [ -x /etc/sudoers.d ] || notes='{"Source":"member","Reason":"access_denied"}'
{
    sed 's/^/passwd /' /etc/passwd
    sed 's/^/group /' /etc/group
    # Rules begin with a user or %group; those that allow everything say ALL after the hosts. Lines go on after a backslash.
    for file in /etc/sudoers /etc/sudoers.d/*; do
        case ${file##*/} in *.* | *~) continue ;; esac
        if [ ! -f "$file" ] || [ ! -r "$file" ]; then continue; fi
        awk '{ line = line $0 } /\\$/ { sub(/\\$/, " ", line); next } { print line; line = "" } END { if (line != "") print line }' "$file" |
            awk '/^[ \t]*(#|$|@|Defaults|User_Alias|Runas_Alias|Host_Alias|Cmnd_Alias)/ || !/=/ { next } { name = $1; sub(/^[^=]*=/, ""); gsub(/\([^)]*\)/, " ") } /(^|[ \t,:])ALL([ \t,]|$)/ { print "sudoers " name }'
    done
    echo end
} 2>/dev/null | tr -d '\000' | awk -v notes="$notes" "$rmm_awk"'
    function member(name, class,    key, id, sid, origin) {
        key = class " " name
        if (name == "" || key in done || rows >= 500) return
        done[key] = 1
        id = class == "User" ? uid[name] : gid[name]
        # A second account of one id has no SID of its own.
        sid = id == "" || (id, class) in used ? "null" : "\"S-1-22-" (class == "User" ? 1 : 2) "-" id "\""
        used[id, class] = 1
        # Capitals: a User_Alias.
        origin = id != "" ? "\"local\"" : name ~ /^[A-Z][A-Z0-9_]*$/ ? "null" : "\"domain\""
        printf "%s{\"SID\":%s,\"Account\":%s,\"Class\":\"%s\",\"Origin\":%s,\"Builtin\":%s}", (rows++ ? "," : ""), sid, text((class == "Group" ? "%" : "") name), class, origin, (id == "0" && name == "root" ? "true" : "false")
    }
    BEGIN { printf "{\"member\":[" }
    $1 == "sudoers" { named[++names] = $2; next }
    { kind = $1; sub(/^[a-z]+ /, ""); split($0, part, ":") }
    kind == "passwd" && part[3] ~ /^[0-9]+$/ {
        sub(/^0+/, "", part[3]); if (part[3] == "") part[3] = "0"
        order[++users] = part[1]; uid[part[1]] = part[3]; primary[part[1]] = part[4]
        disabled[part[1]] = part[7] ~ /\/(nologin|false|sync|halt|shutdown)$/
    }
    kind == "group" && part[3] ~ /^[0-9]+$/ { gid[part[1]] = part[3]; list[part[1]] = part[4] }
    kind == "end" {
        for (i = 1; i <= users; i++) if (uid[order[i]] == "0") member(order[i] "", "User")
        wheels = split("sudo wheel admin", wheel, " ")
        for (i = 1; i <= wheels; i++) {
            if (!(wheel[i] in gid)) continue
            n = split(list[wheel[i]], some, ",")
            for (j = 1; j <= n; j++) member(some[j] "", "User")
            for (j = 1; j <= users; j++) if (primary[order[j]] == gid[wheel[i]]) member(order[j] "", "User")
        }
        # The groups above are told by their members.
        for (i = 1; i <= names; i++) {
            name = named[i]
            if (name ~ /^%/) { name = substr(name, 2); if (name !~ /^(sudo|wheel|admin)$/) member(name, "Group") }
            else if (name != "ALL") member(name, "User")
            else member("ALL", "User")
        }
        printf "],\"user\":["
        for (i = 1; i <= users && i <= 2000; i++) if (!(uid[order[i]] in shown)) {
            shown[uid[order[i]]] = 1
            printf "%s{\"SID\":\"S-1-22-1-%s\",\"Disabled\":%s}", (listed++ ? "," : ""), uid[order[i]], (disabled[order[i]] ? "true" : "false")
        }
        printf "],\"notes\":[%s]}\n", notes
    }
'
