# What packages and the lists of them say by their files' times; nothing is fetched, and no dependencies are solved.
# An update is a package that was put in more than a day after the first ones.
newest() { stat -c %Y "$@" 2>/dev/null | sort -rn | awk 'NR == 1'; }
lists='' found='' automatic='' off='' config=''
if command -v dpkg-query >/dev/null 2>&1; then
    lists=$(newest /var/lib/apt/periodic/update-success-stamp)
    [ -n "$lists" ] || lists=$(newest /var/lib/apt/lists)
    # The text is in the machine's language; the first number is that of the updates.
    found=$(awk '/^[0-9]+ / { print $1; exit }' /var/lib/update-notifier/updates-available 2>/dev/null)
    config=$(apt-config dump 2>/dev/null | awk -F '"' '
        $1 == "APT::Periodic::Unattended-Upgrade " { install = $2 }
        $1 == "APT::Periodic::Download-Upgradeable-Packages " { download = $2 }
        $1 == "APT::Periodic::Update-Package-Lists " { look = $2 }
        END { print (install != "" && install != "0" ? 4 : download != "" && download != "0" ? 3 : look != "" && look != "0" ? 2 : 0) }
    ')
elif command -v rpm >/dev/null 2>&1; then
    lists=$(newest /var/cache/dnf/last_makecache /var/cache/dnf/*/repodata/repomd.xml /var/cache/libdnf5/*/repodata/repomd.xml /var/cache/yum/*/*/*/repomd.xml /var/cache/zypp/raw/*/repodata/repomd.xml)
    if [ -r /etc/dnf/automatic.conf ]; then
        config=0
        for timer in dnf-automatic-install dnf-automatic-download dnf-automatic-notifyonly dnf-automatic; do
            [ -e "/etc/systemd/system/timers.target.wants/$timer.timer" ] || continue
            case $timer in
            dnf-automatic-install) config=4 ;;
            dnf-automatic-download) config=3 ;;
            dnf-automatic-notifyonly) config=2 ;;
            *) config=$(awk -F= '{ gsub(/[ \t]/, ""); value[$1] = tolower($2) } END { print (value["apply_updates"] ~ /^(yes|true|1)$/ ? 4 : value["download_updates"] ~ /^(yes|true|1)$/ ? 3 : 2) }' /etc/dnf/automatic.conf) ;;
            esac
            break
        done
    fi
fi
case $config in '') ;; 0) off=1 ;; *) off=0 automatic=$config ;; esac
version=$(awk -F= '$1 == "VERSION_ID" { gsub(/["]/, "", $2); print $2; exit }' /etc/os-release 2>/dev/null)
code=$(awk -F= '$1 == "VERSION_CODENAME" { gsub(/["]/, "", $2); print $2; exit }' /etc/os-release 2>/dev/null)
{
    if command -v dpkg-query >/dev/null 2>&1; then
        stat -c '%Y %n' /var/lib/dpkg/info/*.list 2>/dev/null | sed 's|/var/lib/dpkg/info/||; s|\.list$||'
    elif command -v rpm >/dev/null 2>&1; then
        rpm -qa --qf '%{INSTALLTIME} %{NAME}-%{VERSION}-%{RELEASE}\n' 2>/dev/null
    fi
} | sort -rn | awk -v lists="$lists" -v found="$found" -v automatic="$automatic" -v off="$off" -v version="$version" -v code="$code" "$rmm_awk"'
    $1 ~ /^[0-9]+$/ && $1 > 86400 { at[++n] = $1; name[n] = substr($0, length($1) + 2) }
    END {
        printf "{\"version\":[{\"CurrentBuildNumber\":null,\"UBR\":null,\"DisplayVersion\":%s,\"ReleaseId\":%s}],\"hotfix\":[", text(version), text(code)
        for (i = 1; i <= n && i <= 500 && at[i] > at[n] + 86400; i++) printf "%s{\"HotFixID\":%s,\"InstalledOn\":\"%s\"}", (i > 1 ? "," : ""), text(name[i] ""), day(at[i] "")
        printf "],\"policy\":[],\"automatic\":["
        if (off != "") printf "{\"UseWUServer\":null,\"NoAutoUpdate\":%s,\"AUOptions\":%s}", off, number(automatic)
        printf "],\"pause\":[],\"rollup\":[],\"scan\":["
        if (lists != "") printf "{\"LastSuccess\":%s,\"Found\":%s,\"LastFailure\":null,\"ErrorCode\":null}", moment(lists), number(found)
        printf "],\"install\":["
        if (n) printf "{\"LastSuccess\":%s,\"Title\":%s,\"LastFailure\":null,\"ErrorCode\":null,\"FailedTitle\":null}", moment(at[1] ""), text(name[1] "")
        printf "],\"notes\":[%s]}\n", (n ? "" : "{\"Source\":\"hotfix\",\"Reason\":\"unsupported\"}")
    }
'
