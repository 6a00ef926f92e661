# Local accounts: Get-LocalUser, Get-LocalGroupMember, [ADSI] of the interface WinNT, and names that become SIDs. The
# state's `local_users` and `directory`.
using namespace System.Management.Automation

class RmmLabDirectory {
    # `directory` as PowerShell has it; empty where the state has none.
    static [object] Part([string] $name) {
        $directory = [RmmLab]::Member([RmmLab]::Root, 'directory')
        if ($null -eq $directory) { return @{} }
        $part = [RmmLab]::Member($directory, $name)
        if ($null -eq $part) { return @{} }
        return [RmmLab]::Plain($part)
    }

    # DOMAIN\name of WinNT://DOMAIN/name or WinNT://DOMAIN/COMPUTER/name.
    static [string] Account([string] $path) {
        $parts = $path.Substring(8).Split('/')
        if ($parts.Count -eq 1) { return $parts[0] }
        return "$($parts[-2])\$($parts[-1])"
    }

    static [object[]] Members() {
        $groups = [RmmLabDirectory]::Part('groups')
        return @(foreach ($name in $groups.Keys) { $groups[$name] })
    }
}

# What [ADSI]'WinNT://COMPUTER/name,class' gives. Like the real one it takes an entry as well as a path.
class RmmLabEntry {
    [string] $Path
    [string] $SchemaClassName
    [object] $objectSid
    hidden [object[]] $Held = @()

    RmmLabEntry([string] $path) {
        if ($path -notmatch '^WinNT://[^/]+/(?<name>[^/,]+),(?<class>group|user)$') { throw "no entry $path" }
        $this.Path = $path -replace ',\w+$', ''
        $this.SchemaClassName = $Matches['class']
        $found = [RmmLabDirectory]::Part("$($Matches['class'])s")[$Matches['name']]
        if ($null -eq $found) { throw "no $($Matches['class']) of the name $($Matches['name'])" }
        if ($Matches['class'] -eq 'group') { $this.Held = @($found) }
        else {
            foreach ($name in $found.Keys) {
                $value = [pscustomobject] @{ Value = $found[$name] }
                ([psobject] $this).PSObject.Properties.Add([PSNoteProperty]::new($name, $value))
            }
        }
    }

    RmmLabEntry([System.Collections.IDictionary] $member) {
        $this.Path = $member['path']
        $this.SchemaClassName = $member['class']
        if ($member['sid']) { $this.objectSid = [pscustomobject] @{ Value = [RmmLabEntry]::Bytes($member['sid']) } }
    }

    [object[]] Members() { return @(foreach ($member in $this.Held) { [RmmLabEntry]::new($member) }) }

    static [byte[]] Bytes([string] $sid) {
        $parts = $sid.Split('-')
        $bytes = [System.Collections.Generic.List[byte]]::new([byte[]] @([byte] $parts[1], ($parts.Count - 3), 0, 0, 0, 0, 0, [byte] $parts[2]))
        foreach ($part in $parts[3..($parts.Count - 1)]) { $bytes.AddRange([System.BitConverter]::GetBytes([uint32] $part)) }
        return $bytes.ToArray()
    }
}

# [System.Security.Principal.NTAccount], which asks the machine and its domain; `lsa: false` of a member is one it cannot find.
class RmmLabAccount {
    [string] $Value
    RmmLabAccount([string] $name) { $this.Value = $name }

    [object] Translate([type] $kind) {
        foreach ($member in [RmmLabDirectory]::Members()) {
            if ([RmmLabDirectory]::Account($member['path']) -eq $this.Value -and $member['sid'] -and $member['lsa'] -ne $false) {
                return [pscustomobject] @{ Value = $member['sid'] }
            }
        }
        throw 'Some or all identity references could not be translated.'
    }
}

$accelerators = [psobject].Assembly.GetType('System.Management.Automation.TypeAccelerators')
$null = $accelerators::Remove('adsi')
$accelerators::Add('adsi', [RmmLabEntry])
$null = $accelerators::Remove('System.Security.Principal.NTAccount')
$accelerators::Add('System.Security.Principal.NTAccount', [RmmLabAccount])

function Microsoft.PowerShell.Commands.GetLocalUserCommand {
    [CmdletBinding(DefaultParameterSetName = 'Default')]
    param(
        [Parameter(ParameterSetName = 'Default', Position = 0)] [string[]] $Name,
        [Parameter(ParameterSetName = 'SecurityIdentifier', Position = 0)] [string[]] $SID
    )
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    if ([RmmLab]::Lists('denied', 'local_users', ' ')) {
        $exception = [System.UnauthorizedAccessException]::new('Access denied.')
        $PSCmdlet.WriteError([ErrorRecord]::new($exception, 'AccessDenied', 'PermissionDenied', $null))
        return
    }
    $all = [RmmLab]::Member([RmmLab]::Root, 'local_users')
    if ($null -eq $all) { return }
    foreach ($element in $all.EnumerateArray()) {
        $user = [RmmLab]::Plain($element)
        if (($Name -and $user['Name'] -notin $Name) -or ($SID -and $user['SID'] -notin $SID)) { continue }
        $result = [ordered] @{}
        foreach ($text in 'Name', 'SID', 'FullName', 'Description', 'Enabled', 'PasswordRequired', 'UserMayChangePassword') { $result[$text] = $user[$text] }
        foreach ($time in 'AccountExpires', 'LastLogon', 'PasswordChangeableDate', 'PasswordExpires', 'PasswordLastSet') {
            $result[$time] = if ($user[$time]) { [RmmLab]::Time($user[$time]) } else { $null }
        }
        $result['PrincipalSource'] = 'Local'
        $result['ObjectClass'] = 'User'
        [pscustomobject] $result
    }
}
Set-Alias -Name Get-LocalUser -Value Microsoft.PowerShell.Commands.GetLocalUserCommand

function Microsoft.PowerShell.Commands.GetLocalGroupMemberCommand {
    [CmdletBinding(DefaultParameterSetName = 'Default')]
    param(
        [Parameter(ParameterSetName = 'Default', Mandatory, Position = 0)] [Alias('Group')] [string] $Name,
        [Parameter(ParameterSetName = 'SecurityIdentifier', Mandatory, Position = 0)] [string] $SID,
        [Parameter(Position = 1)] [string] $Member
    )
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    if ($SID) {
        $Name = @(Get-CimInstance -Query 'SELECT Name, SID FROM Win32_Group' | Where-Object SID -EQ $SID | ForEach-Object Name)[0]
    }
    $held = [RmmLabDirectory]::Part('groups')[$Name]
    if ($null -eq $held) {
        $record = [ErrorRecord]::new([System.InvalidOperationException]::new("Group $Name was not found."), 'GroupNotFound', 'ObjectNotFound', $Name)
        $PSCmdlet.ThrowTerminatingError($record)
    }
    # As the real one does where a member's account cannot be found.
    if (@($held | Where-Object { [RmmLabDirectory]::Account($_['path']) -like 'S-1-*' }).Count) {
        $exception = [System.InvalidOperationException]::new('Failed to compare two elements in the array.')
        $PSCmdlet.ThrowTerminatingError([ErrorRecord]::new($exception, 'An unspecified error occurred.', 'NotSpecified', $null))
    }
    foreach ($one in $held) {
        $account = [RmmLabDirectory]::Account($one['path'])
        $source = if ($account -like "$env:COMPUTERNAME\*") { 'Local' } elseif ($account -like 'AzureAD\*') { 'AzureAD' } else { 'ActiveDirectory' }
        [pscustomobject] @{ Name = $account; SID = $one['sid']; ObjectClass = $one['class']; PrincipalSource = $source }
    }
}
Set-Alias -Name Get-LocalGroupMember -Value Microsoft.PowerShell.Commands.GetLocalGroupMemberCommand
