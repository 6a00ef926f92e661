# Runner of a bundle for POSIX shells: each collector in a subshell, one line of output per collector as soon as it ends.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
rmm_text() { printf '%s' "$1" | awk 'BEGIN { printf "\""; for (i = 1; i < 32; i++) code[sprintf("%c", i)] = sprintf("\\u%04x", i) } { if (NR > 1) printf "\\n"; n = length($0); for (i = 1; i <= n; i++) { c = substr($0, i, 1); if (c == "\"" || c == "\\") printf "\\%s", c; else if (c in code) printf "%s", code[c]; else printf "%s", c } } END { printf "\"" }'; }
rmm_clock() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime 2>/dev/null || printf 0; }
# For awk programs: a text and a number as JSON, null where there is none; a time from seconds since 1970, UTC (the
# proleptic Gregorian calendar in eras of 400 years). Not every awk has strftime or a %d beyond 32 bits.
rmm_awk='
function text(v, out, i, c) {
if (v == "") return "null"
v = substr(v, 1, 4000)
if (v ~ /^[A-Za-z0-9 ._:@\/+,=-]*$/) return "\"" v "\""
out = ""
for (i = 1; i <= length(v); i++) { c = substr(v, i, 1); out = out (c == "\"" || c == "\\" ? "\\" c : c < " " ? " " : c) }
return "\"" out "\""
}
function number(v) { return v ~ /^-?[0-9]+$/ && length(v) < 20 ? v "" : "null" }
function day(v, z, era, doe, yoe, doy, mp, m) {
z = int(v / 86400) + 719468
era = int(z / 146097); doe = z - era * 146097
yoe = int((doe - int(doe / 1460) + int(doe / 36524) - int(doe / 146096)) / 365)
doy = doe - (365 * yoe + int(yoe / 4) - int(yoe / 100)); mp = int((5 * doy + 2) / 153)
m = mp < 10 ? mp + 3 : mp - 9
return sprintf("%04d-%02d-%02d", yoe + era * 400 + (m <= 2 ? 1 : 0), m, doy - int((153 * mp + 2) / 5) + 1)
}
function moment(v) {
if (v !~ /^[0-9]+$/ || length(v) > 11) return "null"
return sprintf("\"%sT%02d:%02d:%02dZ\"", day(v), int(v % 86400 / 3600), int(v % 3600 / 60), v % 60)
}
'
# Which installation this is, so that another machine under the same name is noticed; left out where it cannot be read.
rmm_machine=
for rmm_file in /etc/machine-id /var/lib/dbus/machine-id; do
[ -z "$rmm_machine" ] && [ -r "$rmm_file" ] || continue
IFS= read -r rmm_line <"$rmm_file" || :
case $rmm_line in
*[!0-9a-f]*|'') ;;
*) [ "${#rmm_line}" -ne 32 ] || rmm_machine=",\"machine\":\"$rmm_line\"" ;;
esac
done
rmm_host=$(rmm_text "$(hostname 2>/dev/null || uname -n)")
# The document has the limit that rmm.core.parts has; who writes more is ended by the closed pipe.
rmm_part() {
rmm_start=$(rmm_clock)
rmm_out=$( { rmm_err=$({ "rmm_$1" 2>&1 >&3 3>&-; printf '#%s' "$?"; } | tail -c 2000); rmm_code=${rmm_err##*#}; [ "$rmm_code" -eq 0 ] || printf '\n#rmm:failed %s %s' "$rmm_code" "${rmm_err%#*}" >&3 2>/dev/null; } 3>&1 | head -c 4194305 )
rmm_head="{\"collector\":\"$1\",\"host\":$rmm_host$rmm_machine,\"ms\":$(( $(rmm_clock) - rmm_start ))"
[ "${#rmm_out}" -le 4194304 ] || rmm_out='#rmm:large'
case $rmm_out in
'#rmm:large') printf '%s,"error":{"id":"DocumentTooLarge","category":"LimitsExceeded","hresult":null,"message":"the script wrote more than 4194304 bytes"}}\n' "$rmm_head" ;;
*'#rmm:failed '*) rmm_err=${rmm_out##*'#rmm:failed '}; printf '%s,"error":{"id":"exit.%s","category":"NotSpecified","hresult":null,"message":%s}}\n' "$rmm_head" "${rmm_err%% *}" "$(rmm_text "${rmm_err#* }")" ;;
'{'*'}') printf '%s,"document":%s}\n' "$rmm_head" "$rmm_out" ;;
*) printf '%s,"error":{"id":"no.document","category":"InvalidData","hresult":null,"message":"no document"}}\n' "$rmm_head" ;;
esac
}
