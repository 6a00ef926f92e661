# Runner of a bundle for POSIX shells: each collector in a subshell, one line of output per collector as soon as it ends.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
rmm_text() { printf '%s' "$1" | awk 'BEGIN { printf "\""; for (i = 1; i < 32; i++) code[sprintf("%c", i)] = sprintf("\\u%04x", i) } { if (NR > 1) printf "\\n"; n = length($0); for (i = 1; i <= n; i++) { c = substr($0, i, 1); if (c == "\"" || c == "\\") printf "\\%s", c; else if (c in code) printf "%s", code[c]; else printf "%s", c } } END { printf "\"" }'; }
rmm_clock() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime 2>/dev/null || printf 0; }
rmm_host=$(rmm_text "$(hostname 2>/dev/null || uname -n)")
# The document has the limit that rmm.core.parts has; who writes more is ended by the closed pipe.
rmm_part() {
rmm_start=$(rmm_clock)
rmm_out=$( { rmm_err=$({ "rmm_$1" 2>&1 >&3 3>&-; printf '#%s' "$?"; } | tail -c 2000); rmm_code=${rmm_err##*#}; [ "$rmm_code" -eq 0 ] || printf '\n#rmm:failed %s %s' "$rmm_code" "${rmm_err%#*}" >&3 2>/dev/null; } 3>&1 | head -c 4194305 )
rmm_head="{\"collector\":\"$1\",\"host\":$rmm_host,\"ms\":$(( $(rmm_clock) - rmm_start ))"
[ "${#rmm_out}" -le 4194304 ] || rmm_out='#rmm:large'
case $rmm_out in
'#rmm:large') printf '%s,"error":{"id":"DocumentTooLarge","category":"LimitsExceeded","hresult":null,"message":"the script wrote more than 4194304 bytes"}}\n' "$rmm_head" ;;
*'#rmm:failed '*) rmm_err=${rmm_out##*'#rmm:failed '}; printf '%s,"error":{"id":"exit.%s","category":"NotSpecified","hresult":null,"message":%s}}\n' "$rmm_head" "${rmm_err%% *}" "$(rmm_text "${rmm_err#* }")" ;;
'{'*'}') printf '%s,"document":%s}\n' "$rmm_head" "$rmm_out" ;;
*) printf '%s,"error":{"id":"no.document","category":"InvalidData","hresult":null,"message":"no document"}}\n' "$rmm_head" ;;
esac
}
