# What a distribution says of itself. Locale and build revision are Windows' own ideas.
field() { awk -F= -v name="$1" '$1 == name { value = substr($0, length(name) + 2); gsub(/^["'"'"']|["'"'"']$/, "", value); print value; exit }' /etc/os-release 2>/dev/null; }
text() { if [ -n "$1" ]; then rmm_text "$1"; else printf null; fi; }
born=$(stat -c %W / 2>/dev/null || echo 0)
installed=''
case $born in '' | 0 | *[!0-9]*) ;; *) installed=$(date -u -d "@$born" '+%Y-%m-%dT%H:%M:%SZ' 2>/dev/null) ;; esac
zone=$(readlink /etc/localtime 2>/dev/null || true)
zone=${zone##*/zoneinfo/}
[ -n "$zone" ] || zone=$(cat /etc/timezone 2>/dev/null || true)
machine=$(uname -m)
case $machine in x86_64 | amd64) machine=AMD64 ;; aarch64) machine=ARM64 ;; i?86) machine=x86 ;; esac
domain=$(hostname -d 2>/dev/null || true)
joined=false
[ -r /etc/sssd/sssd.conf ] || [ -e /var/lib/samba/private/secrets.tdb ] || [ -d /var/lib/sss/db ] && joined=null
name=$(field PRETTY_NAME)
printf '{"os":[{"CSName":%s,"Caption":%s,"Version":%s,"BuildNumber":null,"InstallDate":%s,"Locale":null}],' "$rmm_host" "$(text "${name:-$(uname -s)}")" "$(text "$(field VERSION_ID)")" "$(text "$installed")"
printf '"computer":[{"Domain":%s,"PartOfDomain":%s}],' "$(text "$domain")" "$joined"
printf '"version":[{"UBR":null,"EditionID":%s}],' "$(text "$(field ID)")"
printf '"zone":[{"TimeZoneKeyName":%s}],"environment":[{"PROCESSOR_ARCHITECTURE":%s}]}\n' "$(text "$zone")" "$(text "$machine")"
