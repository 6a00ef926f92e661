# Certificates in files where servers keep theirs, or that a server's configuration names; the first one of each file.
# Not those of authorities that the machine trusts.
notes=''
denied() { notes='{"Source":"certificate","Reason":"access_denied"}'; }
if ! command -v openssl >/dev/null 2>&1; then
    printf '{"certificate":[],"listener":[],"desktop":[],"address":[],"notes":[{"Source":"certificate","Reason":"unsupported"}]}\n'
    exit 0
fi
for folder in /etc/letsencrypt/live /etc/ssl/private; do
    [ ! -d "$folder" ] || [ -x "$folder" ] || denied
done
# Configurations that name certificates: "server file".
named=$(
    find -L /etc/nginx /etc/apache2 /etc/httpd /etc/lighttpd /etc/haproxy /etc/postfix /etc/dovecot -maxdepth 3 -type f -size -256k 2>/dev/null | awk 'NR <= 500' |
        while IFS= read -r file; do
            case $file in *.pem | *.crt | *.key | */logs/* | */run/* | */modules/* | *-available/*) continue ;; esac
            [ -r "$file" ] || continue
            server=${file#/etc/}
            tr -d '\000' <"$file" | awk -v server="${server%%/*}" '
                { gsub(/[;"<]/, " "); sub(/^[ \t]+/, "") }
                tolower($1) ~ /^(ssl_certificate|sslcertificatefile|ssl\.pemfile|smtpd_tls_cert_file|smtpd_tls_chain_files|ssl_cert|ssl_server_cert_file)$/ {
                    for (i = 2; i <= NF; i++) if ($i ~ /^\//) { print server " " $i; break }
                }
                $1 == "bind" { for (i = 2; i < NF; i++) if ($i == "crt" && $(i + 1) ~ /^\//) print server " " $(i + 1) }
            '
        done | sort -u | awk 'NR <= 200'
)
places=$(find -L /etc/letsencrypt/live /etc/ssl/private /etc/ssl/local /etc/pki/tls/certs /etc/pki/tls/private /etc/nginx /etc/apache2 /etc/httpd /etc/haproxy /etc/postfix /etc/dovecot /usr/local/etc/ssl \
    -maxdepth 3 -type f -size -64k \( -name '*.pem' -o -name '*.crt' -o -name '*.cer' \) 2>/dev/null)
# A file beside it that has the private key; whether there is one in a closed folder cannot be seen.
private_key() {
    base=${1##*/}
    base=${base%.*}
    if grep -qs 'PRIVATE KEY-----' "$1"; then echo true && return; fi
    for key in "${1%/*}/privkey.pem" "${1%.*}.key" "${1%/*}/$base.key.pem" "/etc/ssl/private/$base.key" "/etc/pki/tls/private/$base.key" "${1%/*}/../private/$base.key"; do
        if [ -e "$key" ]; then echo true && return; fi
    done
    for folder in /etc/ssl/private /etc/pki/tls/private; do
        if [ -d "$folder" ] && [ ! -x "$folder" ]; then echo null && return; fi
    done
    echo false
}
{
    printf '%s\n' "$named" | sed 's/^[^ ]* //'
    printf '%s\n' "$places"
} | sort -u | awk '/^\// && !/\/(ca-bundle|ca-certificates|chain|cacert)[^\/]*$/ && ++n <= 200' | {
    while IFS= read -r file; do
        if [ ! -r "$file" ]; then
            if [ -e "$file" ] || [ ! -x "${file%/*}" ]; then echo '#denied'; fi
            continue
        fi
        [ -f "$file" ] || continue
        grep -qs 'BEGIN .*CERTIFICATE' "$file" || continue
        printf '#file %s %s\n' "$(private_key "$file")" "$file"
        openssl x509 -in "$file" -noout -fingerprint -sha1 -subject -issuer -serial -dates -text -nameopt esc_2253,esc_ctrl,utf8,dump_nostr,dump_unknown,dump_der,sep_comma_plus_space,dn_rev,sname </dev/null 2>/dev/null | tr -d '\000' | awk 'NR <= 400 { print "=" $0 }'
    done
    echo '#end'
    printf '%s\n' "$named"
} | awk -v notes="$notes" "$rmm_awk"'
    # "notAfter=Dec 25 22:03:09 2026 GMT"
    function time(line,    part, month) {
        sub(/^[^=]*=/, "", line); split(line, part, " "); month = index("JanFebMarAprMayJunJulAugSepOctNovDec", part[1])
        if (!month || part[2] !~ /^[0-9]+$/ || part[3] !~ /^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$/ || part[4] !~ /^[0-9][0-9][0-9][0-9]$/) return "null"
        return sprintf("\"%s-%02d-%02dT%sZ\"", part[4], (month + 2) / 3, part[2], part[3])
    }
    function value(line) { sub(/^[^=]*= */, "", line); return line }
    function flush(    folder) {
        if (thumb != "") {
            folder = file; sub(/\/[^\/]*$/, "", folder)
            printf "%s{\"Store\":%s,\"Thumbprint\":\"%s\",\"Subject\":%s,\"Issuer\":%s,\"SelfSigned\":%s,\"Names\":[%s],", (rows++ ? "," : ""), text(folder), thumb, text(subject), text(issuer), (subject == issuer ? "true" : "false"), names
            printf "\"SerialNumber\":%s,\"NotBefore\":%s,\"NotAfter\":%s,\"HasPrivateKey\":%s,", text(serial), from, to, key
            printf "\"KeyAlgorithm\":%s,\"KeyBits\":%s,\"SignatureAlgorithm\":%s}", text(algorithm in oid ? oid[algorithm] : algorithm), number(bits), text(signature in oid ? oid[signature] : signature)
            of[file] = thumb
        }
        thumb = subject = issuer = serial = names = algorithm = bits = signature = ""; from = to = "null"
    }
    BEGIN {
        oid["rsaEncryption"] = "1.2.840.113549.1.1.1"; oid["id-ecPublicKey"] = "1.2.840.10045.2.1"; oid["dsaEncryption"] = "1.2.840.10040.4.1"
        oid["md5WithRSAEncryption"] = "1.2.840.113549.1.1.4"; oid["sha1WithRSAEncryption"] = "1.2.840.113549.1.1.5"; oid["rsassaPss"] = "1.2.840.113549.1.1.10"
        oid["sha256WithRSAEncryption"] = "1.2.840.113549.1.1.11"; oid["sha384WithRSAEncryption"] = "1.2.840.113549.1.1.12"; oid["sha512WithRSAEncryption"] = "1.2.840.113549.1.1.13"
        oid["ecdsa-with-SHA1"] = "1.2.840.10045.4.1"; oid["ecdsa-with-SHA256"] = "1.2.840.10045.4.3.2"; oid["ecdsa-with-SHA384"] = "1.2.840.10045.4.3.3"; oid["ecdsa-with-SHA512"] = "1.2.840.10045.4.3.4"
        from = to = "null"; printf "{\"certificate\":["
    }
    ended { if (split($0, part, " ") > 1) { file = substr($0, index($0, " ") + 1); if (file in of) address = address (address == "" ? "" : ",") "{\"KeyName\":" text(part[1] "") ",\"Thumbprint\":\"" of[file] "\"}" }; next }
    $0 == "#denied" { notes = "{\"Source\":\"certificate\",\"Reason\":\"access_denied\"}"; next }
    $0 == "#end" { flush(); ended = 1; next }
    # What stands in a certificate begins with an equals sign here, and so cannot pass for one of our own lines.
    /^#file / { flush(); key = $2; file = $0; sub(/^#file [a-z]+ /, "", file); next }
    { sub(/^=/, "") }
    thumb == "" && /^[Ss][Hh][Aa]1 Fingerprint=/ { thumb = toupper(value($0)); gsub(/[^0-9A-F]/, "", thumb); next }
    subject == "" && /^subject=/ { subject = value($0); next }
    issuer == "" && /^issuer=/ { issuer = value($0); next }
    serial == "" && /^serial=/ { serial = value($0); next }
    from == "null" && /^notBefore=/ { from = time($0); next }
    to == "null" && /^notAfter=/ { to = time($0); next }
    signature == "" && /^ +Signature Algorithm: / { signature = $3; next }
    algorithm == "" && /^ +Public Key Algorithm: / { algorithm = $4; next }
    bits == "" && /Public-Key: \([0-9]+ bit/ { bits = $0; sub(/^[^(]*\(/, "", bits); sub(/ .*/, "", bits); next }
    /^ +X509v3 Subject Alternative Name:/ { wanted = 1; next }
    wanted {
        wanted = 0; n = split($0, part, ", ")
        for (i = 1; i <= n && i <= 100; i++) {
            sub(/^ +/, "", part[i])
            if (part[i] ~ /^(DNS|IP Address|URI|email):/) { sub(/^[^:]*:/, "", part[i]); names = names (names == "" ? "" : ",") text(part[i] "") }
        }
    }
    END { printf "],\"listener\":[],\"desktop\":[],\"address\":[%s],\"notes\":[%s]}\n", address, notes }
'
