# A SID as text, from its bytes: revision, number of parts, authority (big-endian), parts (little-endian).
function ConvertTo-Sid {
    param($Bytes)
    if ($null -eq $Bytes -or $Bytes.Count -lt 12) { return }
    $text = "S-$($Bytes[0])-$($Bytes[7])"
    for ($at = 8; $at + 3 -lt $Bytes.Count; $at += 4) {
        $part = [long]$Bytes[$at] + 256 * [long]$Bytes[$at + 1] + 65536 * [long]$Bytes[$at + 2] + 16777216 * [long]$Bytes[$at + 3]
        $text = "$text-$part"
    }
    $text
}
# A name's SID; nothing where no domain controller or cache knows it.
function Find-Sid {
    param($Entry, [string]$Domain, [string]$Name)
    try { return ([System.Security.Principal.NTAccount]"$Domain\$Name").Translate([System.Security.Principal.SecurityIdentifier]).Value } catch { $null = $_ }
    try { ConvertTo-Sid -Bytes $Entry.objectSid.Value } catch { $null = $_ }
}
function Get-Origin {
    param([string]$Sid, [bool]$Local, [bool]$Gone)
    if ($Sid -like 'S-1-12-1-*') { return 'entra' }
    if ($Gone) { return 'orphan' }
    if ($Sid -notlike 'S-1-5-21-*' -and $Sid) { return 'builtin' }
    if ($Local) { return 'local' }
    'domain'
}
function Get-Member544 {
    param([string]$Group, [string]$Computer)
    # Get-LocalGroupMember fails as a whole where one member is an orphan; the directory interface names it by its SID.
    foreach ($member in ([ADSI]"WinNT://$Computer/$Group,group").Members()) {
        $entry = [ADSI]$member
        $parts = @("$($entry.Path)" -replace '^WinNT://', '' -split '/')
        $gone = $parts[-1] -like 'S-1-*'
        $class = $null
        $domain = $null
        if ($gone) { $sid = $parts[-1] } else {
            $domain = "$($parts[-2])"
            $sid = Find-Sid -Entry $entry -Domain $domain -Name $parts[-1]
            try { $class = "$($entry.SchemaClassName)" } catch { $null = $_ }
        }
        $account = $parts[-1]
        if ($domain) { $account = "$domain\$account" }
        @{
            SID = $sid
            Account = $account
            Class = $class
            Origin = Get-Origin -Sid $sid -Local ($domain -eq $Computer) -Gone $gone
            Builtin = ($sid -like 'S-1-5-21-*-500' -and $domain -eq $Computer)
        }
    }
}
# Where the language mode forbids the directory interface. It tells users from groups in the machine's language only.
function Get-Member544Plain {
    param([string]$Computer)
    foreach ($member in Get-LocalGroupMember -SID 'S-1-5-32-544' -ErrorAction Stop) {
        $sid = "$($member.SID)"
        $local = "$($member.PrincipalSource)" -eq 'Local'
        @{
            SID = $sid
            Account = "$($member.Name)"
            Class = $null
            Origin = Get-Origin -Sid $sid -Local $local -Gone $false
            Builtin = ($sid -like 'S-1-5-21-*-500' -and $local)
        }
    }
}
$notes = @()
$members = @()
$user = @()
try {
    $system = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem' -ErrorAction Stop
    if ($system.ProductType -eq 2) {
        # A domain controller has no accounts of its own: its group is the domain's.
        $notes = @(@{ Source = 'member'; Reason = 'unsupported' }, @{ Source = 'user'; Reason = 'unsupported' })
    } else {
        $group = Get-CimInstance -Query "SELECT Name, Domain FROM Win32_Group WHERE LocalAccount = TRUE AND SID = 'S-1-5-32-544'" -ErrorAction Stop
        $user = @(Get-CimInstance -Query 'SELECT SID, Disabled FROM Win32_UserAccount WHERE LocalAccount = TRUE' -ErrorAction Stop)
        try { $members = @(Get-Member544 -Group $group.Name -Computer $env:COMPUTERNAME) } catch { $members = @(Get-Member544Plain -Computer $env:COMPUTERNAME) }
        # Such a row is named by its account this time; nobody shall take it for another member.
        foreach ($member in $members) {
            if (-not $member.SID) { $notes = @(@{ Source = 'member'; Reason = 'unknown' }) }
        }
    }
} catch {
    $notes = @(@{ Source = 'member'; Reason = (Get-Reason -Failure $_) })
}
$document = @{
    member = $members
    user = @($user | Select-Object -Property SID, Disabled)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
