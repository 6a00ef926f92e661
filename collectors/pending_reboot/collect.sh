# Evidence in order: the mark that Debian's packages leave, what needs-restarting finds, and a kernel put in since the start.
boot=$(awk '$1 == "btime" { print $2 }' /proc/stat)
packages='' notes=''
newer() { awk -v boot="$boot" '$1 ~ /^[0-9]+$/ && $1 > boot { found = 1 } END { exit !found }'; }
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then
    packages='{"Mark":true}'
elif command -v needs-restarting >/dev/null 2>&1; then
    code=0
    needs-restarting -r >/dev/null 2>&1 || code=$?
    case $code in
    0) ;;
    1) packages='{"Mark":true}' ;;
    *) notes='{"Source":"packages","Reason":"unknown"}' ;;
    esac
elif command -v dpkg-query >/dev/null 2>&1; then
    if stat -c %Y /var/lib/dpkg/info/linux-image-[0-9]*.list 2>/dev/null | newer; then packages='{"Kernel":true}'; fi
elif command -v rpm >/dev/null 2>&1; then
    if rpm -q kernel kernel-core kernel-default --qf '%{INSTALLTIME}\n' 2>/dev/null | newer; then packages='{"Kernel":true}'; fi
elif [ -d /lib/modules ]; then
    # The modules of the kernel that runs are gone: another one took its place.
    [ -d "/lib/modules/$(uname -r)" ] || packages='{"Kernel":true}'
else
    notes='{"Source":"packages","Reason":"unknown"}'
fi
# A name is changed here without a restart.
name=$(rmm_text "$(uname -n)")
printf '{"cbs":[],"update":[],"session":[{"PendingFileRenameOperations":null}],"active_name":[{"ComputerName":%s}],' "$name"
printf '"next_name":[{"ComputerName":%s}],"netlogon":[],"manager":[],"packages":[%s],"notes":[%s]}\n' "$name" "$packages" "$notes"
