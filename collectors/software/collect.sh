# dpkg or rpm. The day of installation is that of dpkg's list of files.
if command -v dpkg-query >/dev/null 2>&1; then
    {
        stat -c '%Y %n' /var/lib/dpkg/info/*.list 2>/dev/null | sed 's|^|day |'
        dpkg-query -W -f 'pkg\t${Package}\t${Version}\t${Maintainer}\t${Architecture}\t${db:Status-Status}\n' 2>/dev/null
    } | awk -F '\t' '
        $1 == "pkg" && $6 == "installed" { print $2 "\t" $3 "\t" $4 "\t" $5 "\t" (($2 ":" $5) in day ? day[$2 ":" $5] : day[$2]) }
        /^day / { split($0, part, " "); name = part[3]; sub(/^.*\//, "", name); sub(/\.list$/, "", name); day[name] = part[2] }
    '
elif command -v rpm >/dev/null 2>&1; then
    rpm -qa --qf '%{NAME}\t%{VERSION}-%{RELEASE}\t%{VENDOR}\t%{ARCH}\t%{INSTALLTIME}\n' 2>/dev/null
fi | awk -F '\t' '
    function text(value,    out, i, c) {
        if (value == "" || value == "(none)") return "null"
        out = ""
        for (i = 1; i <= length(value); i++) {
            c = substr(value, i, 1)
            out = out (c == "\"" || c == "\\" ? "\\" c : c < " " ? " " : c)
        }
        return "\"" out "\""
    }
    # A day from seconds since 1970, UTC (the proleptic Gregorian calendar in eras of 400 years).
    function ymd(seconds,    z, era, doe, yoe, doy, mp, m, y) {
        if (seconds !~ /^[0-9]+$/) return "null"
        z = int(seconds / 86400) + 719468
        era = int(z / 146097); doe = z - era * 146097
        yoe = int((doe - int(doe / 1460) + int(doe / 36524) - int(doe / 146096)) / 365)
        doy = doe - (365 * yoe + int(yoe / 4) - int(yoe / 100)); mp = int((5 * doy + 2) / 153)
        m = mp < 10 ? mp + 3 : mp - 9; y = yoe + era * 400 + (m <= 2 ? 1 : 0)
        return sprintf("\"%04d%02d%02d\"", y, m, doy - int((153 * mp + 2) / 5) + 1)
    }
    BEGIN { root["amd64"] = root["x86_64"] = "x64"; root["i386"] = root["i686"] = "x86"; root["all"] = root["noarch"] = "any"; printf "{\"uninstall\":[" }
    {
        printf "%s{\"KeyName\":%s,\"Root\":%s,\"DisplayName\":%s,\"DisplayVersion\":%s,", (rows++ ? "," : ""), text($1), text($4 in root ? root[$4] : $4), text($1), text($2)
        printf "\"Publisher\":%s,\"InstallDate\":%s,\"SystemComponent\":null,\"ParentKeyName\":null}", text($3), ymd($5)
    }
    END { print "]}" }
'
