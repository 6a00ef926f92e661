# Local file systems on block devices, each device once. /proc/mounts writes blanks as \040.
{ df -P -k 2>/dev/null | sed 1d; echo '#mounts'; cat /proc/mounts; } | awk '
    function text(value,    out, i, c) {
        while (match(value, /\\[0-7][0-7][0-7]/)) {
            c = substr(value, RSTART + 1, 1) * 64 + substr(value, RSTART + 2, 1) * 8 + substr(value, RSTART + 3, 1)
            value = substr(value, 1, RSTART - 1) sprintf("%c", c) substr(value, RSTART + 4)
        }
        out = ""
        for (i = 1; i <= length(value); i++) {
            c = substr(value, i, 1)
            if (c == "\"" || c == "\\") out = out "\\" c
            else if (c < " ") out = out " "
            else out = out c
        }
        return "\"" out "\""
    }
    BEGIN { printf "{\"volume\":[" }
    $0 == "#mounts" { mounts = 1; next }
    !mounts {
        path = $6
        for (i = 7; i <= NF; i++) path = path " " $i
        size[path] = $3 + $4; free[path] = $4
        next
    }
    $1 ~ /^\/dev\// && $3 !~ /^(squashfs|iso9660|udf|erofs)$/ {
        plain = $2
        gsub(/\\040/, " ", plain)
        if (!(plain in size) || ($1 in seen)) next
        seen[$1] = 1
        printf "%s{\"Name\":%s,\"Label\":null,\"FileSystem\":%s,\"Capacity\":%.0f,\"FreeSpace\":%.0f,\"DirtyBitSet\":null}", (rows++ ? "," : ""), text($2), text($3), size[plain] * 1024, free[plain] * 1024
    }
    END { print "]}" }
'
