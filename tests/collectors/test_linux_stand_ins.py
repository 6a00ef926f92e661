"""Linux scripts on other machines than this: stand-in programs and trees, in every shell and awk that is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rmm.model.collector import Collector
from tests.collectors.linux import HERE, awk_of, moved, program, read, tree, without

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
every_shell = pytest.mark.parametrize("shell", HERE)
# Busybox's shell takes its own rpm and who rather than those on PATH.
not_busybox = pytest.mark.parametrize("shell", [name for name in HERE if name != "busybox"])

HOSTILE = 'a"b\\c$(touch owned)`id`\x01;'
PASSWD = f"""root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
toor:x:0:0::/root:/bin/sh
ann:x:1000:1000:Ann,Room 1,,:/home/ann:/bin/bash
bob:x:1001:27:{HOSTILE}:/home/bob:/bin/bash
old::1002:1002::/home/old:/bin/sh
+::::::
"""
SHADOW = """root:*:20000:0:99999:7:::
daemon:*:20000:0:99999:7:::
toor:$6$x$y:20000:0:99999:7:::
ann:!$6$x$y:20500:0:90:7:::
bob:$6$x$y:20500:0:99999:7::20001:
"""
LASTLOG = """echo 'Username         Port     From             Latest'
echo 'root                                       **Never logged in**'
echo 'ann              pts/0    10.0.0.5         Tue Mar  3 01:30:00 +0200 2026'"""


def rows(result: Any, key: str) -> dict[Any, Any]:
    return {row[key]: row for row in result.readings}


@every_shell
def test_accounts(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    root = tree(tmp_path, {"etc/passwd": PASSWD, "etc/shadow": SHADOW})
    program(root / "bin", "lastlog", LASTLOG)
    result = read(moved(catalog["accounts"], root), path=[*awk_of(shell, root), root / "bin"], shell=shell)
    assert (result.outcome, result.notes) == ("ok", {})
    seen = rows(result, "account")
    assert {name: row["sid"] for name, row in seen.items()} == {
        "root": "S-1-22-1-0", "daemon": "S-1-22-1-1", "toor": "S-1-22-1-2-0",
        "ann": "S-1-22-1-1000", "bob": "S-1-22-1-1001", "old": "S-1-22-1-1002",
    }  # fmt: skip
    assert {name for name, row in seen.items() if row["enabled"]} == {"root", "toor", "ann", "old"}, "bob's is over"
    assert {name for name, row in seen.items() if row["locked_out"]} == {"ann"}
    assert {name for name, row in seen.items() if not row["password_required"]} == {"old"}
    assert not seen["ann"]["password_never_expires"]
    assert (seen["ann"]["full_name"], seen["ann"]["last_logon"]) == ("Ann", "2026-03-02T23:30:00Z")
    assert seen["bob"]["full_name"] == 'a"b\\c$(touch owned)`id` ;'
    assert seen["bob"]["account_expires"] == "2024-10-05T00:00:00Z"
    assert seen["ann"]["password_set"] == "2026-02-16T00:00:00Z"


SUDOERS = """Defaults env_reset
# nobody ALL=(ALL) ALL
root    ALL=(ALL:ALL) ALL
%sudo   ALL=(ALL:ALL) ALL
%ops    ALL=(ALL) \\
        NOPASSWD: ALL
zabbix  ALL=(root) NOPASSWD: /usr/bin/id
ann ALL=(ALL) NOPASSWD:ALL
ADMINS ALL=(ALL) ALL
mary@corp.example ALL=(ALL) ALL
"""


@every_shell
def test_local_admins(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    group = f"root:x:0:\nsudo:x:27:ann,carl\nops:x:2000:\nodd:x:3:{HOSTILE}\n"
    files = {
        "etc/passwd": PASSWD, "etc/group": group, "etc/sudoers": SUDOERS,
        "etc/sudoers.d/README": "# dave ALL=(ALL) ALL\n", "etc/sudoers.d/90-x": "erin ALL=(ALL) ALL",
        "etc/sudoers.d/y.bak": "frank ALL=(ALL) ALL\n",
    }  # fmt: skip
    root = tree(tmp_path, files)
    result = read(moved(catalog["local_admins"], root), path=awk_of(shell, root), shell=shell)
    assert result.outcome == "ok"
    assert [(r["account"], r["sid"], r["type"], r["origin"]) for r in result.readings] == [
        ("root", "S-1-22-1-0", "user", "local"),
        ("toor", None, "user", "local"),
        ("ann", "S-1-22-1-1000", "user", "local"),
        ("carl", None, "user", "domain"),
        ("bob", "S-1-22-1-1001", "user", "local"),
        ("%ops", "S-1-22-2-2000", "group", "local"),
        ("ADMINS", None, "user", None),
        ("mary@corp.example", None, "user", "domain"),
        ("erin", None, "user", "domain"),
    ]
    assert [row["account"] for row in result.readings if row["builtin_administrator"]] == ["root"]


@not_busybox
def test_a_restart_that_packages_ask_for(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    one, path = moved(catalog["pending_reboot"], tmp_path), awk_of(shell, tmp_path)
    bare = without(one, "needs-restarting", "dpkg-query", "rpm")
    (tmp_path / "lib/modules/0.1-another-kernel").mkdir(parents=True)
    assert read(bare, path=path, shell=shell).readings[0]["reasons"] == "packages"
    (tmp_path / "lib/modules" / os.uname().release).mkdir()
    assert not read(bare, path=path, shell=shell).readings[0]["pending"]
    for code, pending in ((0, False), (1, True), (3, None)):
        program(tmp_path / "bin", "needs-restarting", f"exit {code}")
        row = read(one, path=[*path, tmp_path / "bin"], shell=shell).readings[0]
        assert row["pending"] is pending
    rpm = without(one, "needs-restarting", "dpkg-query")
    for installed, pending in ((1000000000, False), (4000000000, True)):
        program(tmp_path / "bin", "rpm", f"echo package kernel is not installed; echo {installed}")
        assert read(rpm, path=[*path, tmp_path / "bin"], shell=shell).readings[0]["pending"] is pending
    tree(tmp_path, {"run/reboot-required": ""})
    assert read(one, path=path, shell=shell).readings[0]["reasons"] == "packages"


TIMERS = """case "$1" in show) ;; *) exit 1 ;; esac
[ "$TZ" = UTC ] || exit 1
cat <<'END'
Id=backup.timer
Unit=backup.service
NextElapseUSecRealtime=Sat 2026-11-21 01:00:00 UTC
LastTriggerUSec=Fri 2026-11-20 01:00:01.512 UTC
LoadState=loaded
ActiveState=active
FragmentPath=/etc/systemd/system/backup.timer

Id=apt-daily.timer
Unit=apt-daily.service
NextElapseUSecRealtime=
LastTriggerUSec=n/a
LoadState=loaded
ActiveState=active
FragmentPath=/lib/systemd/system/apt-daily.timer

Id=off.timer
Unit=off.service
LoadState=loaded
ActiveState=inactive
LastTriggerUSec=Fri 2026-11-20 01:00:01 UTC
FragmentPath=/etc/systemd/system/off.timer

Id=gone.timer
LoadState=not-found

Id=backup.service
ActiveState=failed
Result=exit-code
ExecMainStatus=23
User=backup

Id=off.service
ActiveState=inactive
Result=timeout
ExecMainStatus=0
END"""


@every_shell
def test_scheduled_tasks(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    files = {
        "run/systemd/system/x": "",
        "etc/crontab": "SHELL=/bin/sh\nMAILTO = x\n# m h dom mon dow user command\n17 * * * * root secret=1 run\n"
        "@reboot ann /x\n* * *\n",
        "etc/cron.d/one": "*/5 1-3 * * mon-fri www-data /y",
        "etc/cron.d/one.dpkg-dist": "1 1 1 1 1 root /y",
        "var/spool/cron/crontabs/bob": "0 3 * * * /usr/bin/z --password hunter2\n",
        "etc/cron.daily/logrotate": "#!/bin/sh\n",
        "etc/cron.daily/off": "#!/bin/sh\n",
    }
    root = tree(tmp_path, files)
    (root / "etc/cron.daily/logrotate").chmod(0o755)
    program(root / "bin", "systemctl", TIMERS)
    result = read(moved(catalog["scheduled_tasks"], root), path=[*awk_of(shell, root), root / "bin"], shell=shell)
    assert result.outcome == "ok"
    seen = {str(row["task"]).replace(str(root), ""): row for row in result.readings}
    assert {name: (row["state"], row["account"]) for name, row in seen.items()} == {
        "backup.timer": ("ready", "backup"),
        "apt-daily.timer": ("ready", "root"),
        "off.timer": ("disabled", "root"),
        "/etc/crontab#1": ("ready", "root"),
        "/etc/crontab#2": ("ready", "ann"),
        "/etc/cron.d/one#1": ("ready", "www-data"),
        "/var/spool/cron/crontabs/bob#1": ("ready", "bob"),
        "/etc/cron.daily/logrotate": ("ready", "root"),
    }
    backup = seen["backup.timer"]
    assert (backup["last_run"], backup["next_run"]) == ("2026-11-20T01:00:01Z", "2026-11-21T01:00:00Z")
    assert (backup["failed"], backup["last_result"], backup["windows_own"]) == (True, 23, False)
    assert (seen["apt-daily.timer"]["failed"], seen["apt-daily.timer"]["windows_own"]) == (None, True)
    assert seen["off.timer"]["failed"], "a timeout has no exit code"
    assert "hunter2" not in str(result)
    assert "secret" not in str(result)


UNITS = """printf 'Id=%s\\nLoadState=%s\\nActiveState=%s\\nUnitFileState=%s\\n\\n' \
    chronyd.service not-found inactive '' chrony.service loaded active enabled"""
CHRONY = """[ "$1 $2" = '-n -c' ] || exit 1
case $3 in
tracking) printf '0A000001,10.0.0.1,3,1795000000.123456789,-0.000312,0.000001,0.00002,'
    echo '-10.2,0.0,0.05,0.008012,0.0001,64.2,Normal' ;;
sources) for one in '*,10.0.0.1' '+,10.0.0.2' '?,10.0.0.3'; do echo "^,$one,3,6,377,12,0.0,0.0,0.0"; done ;;
esac"""
NTPQ = """case $* in
*rv*) echo 'stratum=2, offset=-75000.5, rootdelay=1.250, refid=192.0.2.1,'
    echo 'reftime=ea8a9f80.12345678 Mon, Nov 25 2024' ;;
*) echo '     remote refid st t when poll reach delay offset jitter'; echo '=============='
    echo '*192.0.2.1 .GPS. 1 u 1 64 377 1 2 3'; echo ' 192.0.2.9 .INIT. 16 u - 64 0 0 0 0' ;;
esac"""
TIMESYNC = """[ "$1" = show-timesync ] || exit 1
echo 'SystemNTPServers='; echo 'FallbackNTPServers=0.debian.pool.ntp.org 1.debian.pool.ntp.org'
echo 'ServerName=0.debian.pool.ntp.org'
echo 'NTPMessage={ Leap=0, Version=4, Mode=4, Stratum=2, Ignored=no, PacketCount=3, Jitter=0 }'"""


@every_shell
def test_time_sync_by_each_of_three_clients(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    root = tree(tmp_path, {"run/systemd/system/x": "", "run/systemd/timesync/synchronized": ""})
    os.utime(root / "run/systemd/timesync/synchronized", (1_780_000_000, 1_780_000_000))
    one, path = moved(catalog["time_sync"], root), [*awk_of(shell, root), root / "bin"]
    program(root / "bin", "systemctl", UNITS)
    program(root / "bin", "timedatectl", TIMESYNC)
    program(root / "bin", "ntpq", NTPQ)
    program(root / "bin", "chronyc", CHRONY)
    seen = read(one, path=path, shell=shell).readings[0]
    assert (seen["running"], seen["start_mode"], seen["type"]) == (True, "Auto", "NTP")
    assert (seen["offset_s"], seen["rtt_s"], seen["time_sources"]) == (0.000312, 0.008012, 2)
    assert (seen["source"], seen["stratum"], seen["last_sync"]) == ("10.0.0.1", 3, "2026-11-18T11:06:40Z")
    assert seen["servers"] == "10.0.0.1 10.0.0.2 10.0.0.3"
    program(root / "bin", "chronyc", "echo '506 Cannot talk to daemon'>&2; exit 1")
    seen = read(one, path=path, shell=shell).readings[0]
    assert (seen["offset_s"], seen["rtt_s"], seen["time_sources"]) == (75.0005, 0.00125, 1)
    assert (seen["source"], seen["stratum"], seen["last_sync"]) == ("192.0.2.1", 2, "2024-09-10T10:35:44Z")
    seen = read(without(one, "chronyc", "ntpq"), path=path, shell=shell).readings[0]
    assert (seen["offset_s"], seen["stratum"]) == (None, 2)
    assert (seen["source"], seen["last_sync"]) == ("0.debian.pool.ntp.org", "2026-05-28T20:26:40Z")
    seen = read(without(one, "chronyc", "ntpq", "timedatectl", "systemctl"), path=path, shell=shell).readings[0]
    assert (seen["type"], seen["running"]) == ("NoSync", None)


SESSIONS = """one() { printf 'Id=%s\\nName=%s\\nSeat=%s\\nClass=%s\\nState=%s\\n\\n' "$@"; }
case $1 in
list-sessions) echo '  2 1000 ann seat0 tty2 active no -'
    echo ' c1 1001 bob - pts/0'; echo '  5 0 gdm'; echo '7 1002 cat' ;;
show-session) for id in "$@"; do case $id in
    2) one 2 ann seat0 user active ;;
    c1) one c1 bob '' user active ;;
    5) one 5 gdm seat0 greeter active ;;
    7) one 7 cat seat0 user online ;;
esac; done ;;
esac"""


@not_busybox
def test_users(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    root = tree(tmp_path, {"run/systemd/system/x": ""})
    one, path = moved(catalog["users"], root), [*awk_of(shell, root), root / "bin"]
    program(root / "bin", "loginctl", SESSIONS)
    program(root / "bin", "who", "echo 'ann tty1 2026-11-25 10:00'; echo 'ann pts/1 2026-11-25 10:01 (10.0.0.9)'")
    seen = read(one, path=path, shell=shell).readings[0]
    assert (seen["active"], seen["inactive"], seen["total"]) == (2, 1, 3)
    assert (seen["console_user"], seen["users"]) == ("ann", "ann, bob, cat")
    seen = read(without(one, "loginctl"), path=path, shell=shell).readings[0]
    assert (seen["active"], seen["logged_on"], seen["users"]) == (2, 1, "ann")
    result = read(without(one, "loginctl", "who"), path=path, shell=shell)
    assert (result.readings[0]["active"], result.notes["logged_on"]) == (None, "unsupported")


@not_busybox
def test_updates_of_rpm(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    files = {
        "etc/os-release": 'NAME="Rocky Linux"\nVERSION_ID="9.4"\n', "var/cache/dnf/last_makecache": "",
        "etc/dnf/automatic.conf": "[commands]\napply_updates = yes\n",
        "etc/systemd/system/timers.target.wants/dnf-automatic.timer": "",
    }  # fmt: skip
    root = tree(tmp_path, files)
    os.utime(root / "var/cache/dnf/last_makecache", (1_780_000_000, 1_780_000_000))
    packages = ["1700000000 bash-5-1", "1700000050 zlib-1-1", "1780000000 openssl-3-9", "1770000000 kernel-5-2"]
    program(root / "bin", "rpm", "printf '%s\\n' '" + "' '".join(packages) + "'")
    one = without(moved(catalog["updates"], root), "dpkg-query")
    seen = read(one, path=[*awk_of(shell, root), root / "bin"], shell=shell).readings[0]
    assert (seen["hotfixes"], seen["last_hotfix"]) == (2, "2026-05-28T00:00:00Z")
    assert (seen["last_install"], seen["last_install_title"]) == ("2026-05-28T20:26:40Z", "openssl-3-9")
    assert (seen["last_scan"], seen["scan_found"]) == ("2026-05-28T20:26:40Z", None)
    assert (seen["automatic"], seen["automatic_off"], seen["feature_release"]) == ("install", False, "9.4")


@every_shell
def test_updates_of_dpkg(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    times = {"bash": 1_700_000_000, "libc6:amd64": 1_700_000_050, "openssl": 1_780_000_000}
    files = {f"var/lib/dpkg/info/{name}.list": "" for name in times}
    files["var/lib/apt/periodic/update-success-stamp"] = ""
    files["var/lib/update-notifier/updates-available"] = "\n57 Aktualisierungen\n3 davon sind wichtig\n"
    root = tree(tmp_path, files)
    for name, at in times.items():
        os.utime(root / f"var/lib/dpkg/info/{name}.list", (at, at))
    os.utime(root / "var/lib/apt/periodic/update-success-stamp", (1_780_000_000, 1_780_000_000))
    program(root / "bin", "apt-config", "echo 'APT::Periodic::Unattended-Upgrade \"1\";'")
    program(root / "bin", "dpkg-query", "exit 0")
    path = [*awk_of(shell, root), root / "bin"]
    seen = read(moved(catalog["updates"], root), path=path, shell=shell).readings[0]
    assert (seen["hotfixes"], seen["last_hotfix"], seen["last_install_title"]) == (1, "2026-05-28T00:00:00Z", "openssl")
    assert (seen["last_scan"], seen["scan_found"], seen["automatic"]) == ("2026-05-28T20:26:40Z", 57, "install")
    program(root / "bin", "apt-config", "echo 'APT::Periodic::Unattended-Upgrade \"0\";'")
    seen = read(moved(catalog["updates"], root), path=path, shell=shell).readings[0]
    assert (seen["automatic"], seen["automatic_off"]) == (None, True)


IP = """case "$*" in
'-o addr show') echo '1: lo    inet 127.0.0.1/8 scope host lo'
    echo '2: eth0    inet 10.1.2.3/22 brd 10.1.3.255 scope global dynamic eth0\\       valid_lft 3000sec'
    echo '2: eth0    inet6 fe80::1/64 scope link'; echo '3: eth0.120@eth0    inet 172.16.9.1 peer 172.16.9.2/32' ;;
*-4*) echo 'default via 10.1.0.1 dev eth0 proto dhcp metric 100'; echo 'default dev tun9 scope link' ;;
*-6*) echo 'default via fe80::99 dev eth0 proto ra metric 1024 pref medium' ;;
esac"""


@not_busybox
def test_net_config(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    nics = {
        "eth0": {"ifindex": "2", "address": "00:15:5d:01:02:03", "flags": "0x1003", "operstate": "up", "carrier": "1",
                 "duplex": "full", "speed": "25000", "mtu": "9000", "type": "1", "device/x": ""},
        'eth"0': {"ifindex": "4", "address": "00:00:00:00:00:00", "flags": "0x1002", "operstate": "down",
                  "speed": "-1", "mtu": "1500", "type": "1", "wireless/x": ""},
        "eth0.120": {"ifindex": "3", "address": "00:15:5d:01:02:03", "flags": "0x1003", "operstate": "lowerlayerdown"},
        "veth12ab": {"ifindex": "9"}, "lo": {"ifindex": "1"},
    }  # fmt: skip
    root = tree(tmp_path, {f"sys/class/net/{n}/{key}": f"{v}\n" for n, keys in nics.items() for key, v in keys.items()})
    tree(root, {"etc/resolv.conf": "# x\nnameserver 10.1.0.5\nnameserver 10.1.0.6\nsearch corp.example lab\n"})
    program(root / "bin", "ip", IP)
    one, path = moved(catalog["net_config"], root), [*awk_of(shell, root), root / "bin"]
    result = read(one, path=path, shell=shell)
    assert result.outcome == "ok"
    seen = rows(result, "nic")
    assert list(seen) == ['eth"0', "eth0", "eth0.120"]
    first = seen["eth0"]
    assert (first["mac"], first["speed_bps"], first["mtu"]) == ("00155D010203", 25_000_000_000, 9000)
    assert (first["enabled"], first["state"], first["link"], first["duplex"]) == (True, "up", "connected", "full")
    assert (first["physical"], first["medium"], first["dhcp"]) == (True, "ethernet", True)
    assert (first["addresses"], first["masks"]) == ("10.1.2.3, fe80::1", "255.255.252.0, 64")
    assert (first["gateways"], first["dns_servers"]) == ("10.1.0.1, fe80::99", "10.1.0.5, 10.1.0.6")
    assert (first["default_route"], first["route_metric"], first["default_route6"]) == ("10.1.0.1", 100, "fe80::99")
    assert first["dns_suffix"] == "corp.example"
    other = seen['eth"0']
    assert (other["mac"], other["enabled"], other["speed_bps"], other["medium"]) == (None, False, None, "wifi")
    vlan = seen["eth0.120"]
    assert (vlan["state"], vlan["addresses"], vlan["masks"]) == ("lower_layer_down", "172.16.9.1", "255.255.255.255")
    assert (vlan["dhcp"], vlan["dns_servers"]) == (False, None)
    lacking = read(without(one, "ip"), path=path, shell=shell)
    assert (lacking.readings[0]["addresses"], lacking.notes["addresses"]) == (None, "unsupported")


def certificate(folder: Path, name: str, subject: str, *more: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8",
         "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-days", "30", "-subj", subject, *more],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / f"{name}.pem"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@every_shell
def test_certificates(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    root = tree(tmp_path, {"etc/ssl/certs/ca.pem": "", "etc/nginx/tls/broken.pem": "-----BEGIN CERTIFICATE-----\nx\n"})
    names = "subjectAltName=DNS:www.example,DNS:*.example,IP:10.1.2.3"
    web = certificate(root / "elsewhere", "www", "/C=DE/O=Größe, GmbH/CN=www.example", "-addext", names)
    # What a certificate says of itself must not pass for one of the script's own lines.
    comment = b"\n#file true /x/y\nsha1 Fingerprint=AA\nsubject=CN=forged\n"
    forged = f"nsComment=DER:16:{len(comment):02x}:" + comment.hex(":")
    odd = certificate(root / "etc/nginx/tls", 'a b"$(x)', "/CN=odd", "-addext", forged)
    odd.with_suffix(".key").unlink()
    certificate(root / "etc/nginx/tls", "ca-bundle", "/CN=authority")
    (root / "etc/ssl/private").mkdir(parents=True)
    tree(root, {"etc/nginx/conf.d/site.conf": f"server {{\n\tssl_certificate {web};\n}}\n"})
    result = read(moved(catalog["certificates"], root), path=awk_of(shell, root), shell=shell)
    assert result.outcome == "ok", result.notes
    seen = rows(result, "subject")
    assert set(seen) == {"CN=www.example, O=Größe\\, GmbH, C=DE", "CN=odd"}
    row = seen.pop("CN=www.example, O=Größe\\, GmbH, C=DE")
    assert (row["names"], row["store"]) == ("www.example, *.example, 10.1.2.3", str(web.parent))
    assert (row["private_key"], row["self_signed"], row["expired"]) == (True, True, False)
    assert (row["key_algorithm"], row["key_bits"], row["signature"]) == ("ECC", 256, "sha256ECDSA")
    assert 29 < row["days_left"] <= 30
    assert (row["bound_to"], row["address"]) == ("http", "nginx")
    told = subprocess.run(
        ["openssl", "x509", "-in", web, "-noout", "-fingerprint", "-sha1"], capture_output=True, text=True, check=True
    )
    assert row["thumbprint"] == told.stdout.strip().rpartition("=")[2].replace(":", "")
    assert (seen["CN=odd"]["private_key"], seen["CN=odd"]["bound"]) == (False, False)
    lacking = read(without(moved(catalog["certificates"], root), "openssl"), path=awk_of(shell, root), shell=shell)
    assert (lacking.readings, lacking.notes) == ((), {"rows": "unsupported"})


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
def test_what_is_for_root_alone_is_told_so(catalog: dict[str, Collector], tmp_path: Path) -> None:
    files = {"etc/passwd": PASSWD, "etc/group": "", "etc/shadow": SHADOW, "etc/sudoers": SUDOERS}
    files["var/spool/cron/crontabs/bob"] = "* * * * * x"
    root = tree(Path("/tmp") / f"rmm-{os.getpid()}-{tmp_path.name}", files)
    try:
        for name in ("etc/shadow", "etc/sudoers"):
            (root / name).chmod(0o600)
        (root / "var/spool/cron/crontabs").chmod(0o700)
        accounts = read(moved(catalog["accounts"], root), user=65534)
        assert {row["password_required"] for row in accounts.readings} == {None, False}
        assert accounts.notes["password_set"] == "access_denied"
        for name in ("local_admins", "scheduled_tasks"):
            result = read(moved(catalog[name], root), user=65534)
            assert (result.outcome, result.notes["rows"]) == ("partial", "access_denied"), name
    finally:
        shutil.rmtree(root)
