# Commands that show what the state says elsewhere: services, network adapters, packages of the Store.
using namespace System.Management.Automation

function Microsoft.PowerShell.Commands.GetServiceCommand {
    [CmdletBinding(DefaultParameterSetName = 'Default')]
    param(
        [Parameter(ParameterSetName = 'Default', Position = 0, ValueFromPipeline)] [Alias('ServiceName')] [string[]] $Name,
        [Parameter(ParameterSetName = 'DisplayName', Mandatory)] [string[]] $DisplayName,
        [string[]] $Include, [string[]] $Exclude, [switch] $DependentServices, [switch] $RequiredServices
    )
    process {
        $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
        $class = [RmmLabTypes]::Class('root/cimv2', 'Win32_Service')
        $all = @(Get-RmmLabInstance -Class $class -Chosen 'Name', 'DisplayName', 'State', 'StartMode')
        $by = if ($DisplayName) { 'DisplayName' } else { 'Name' }
        foreach ($wanted in $(if ($DisplayName) { $DisplayName } elseif ($Name) { $Name } else { '*' })) {
            $found = @($all | Where-Object { $_.$by -like $wanted })
            if ($found.Count -eq 0 -and -not [WildcardPattern]::ContainsWildcardCharacters($wanted)) {
                $reason = [System.InvalidOperationException]::new("Cannot find any service with service name '$wanted'.")
                $PSCmdlet.WriteError([ErrorRecord]::new($reason, 'NoServiceFoundForGivenName', 'ObjectNotFound', $wanted))
            }
            foreach ($one in $found) {
                [pscustomobject] @{
                    Name = $one.Name; ServiceName = $one.Name; DisplayName = $one.DisplayName
                    Status = "$($one.State)".Replace(' ', ''); StartType = "$($one.StartMode)" -replace '^Auto$', 'Automatic'; MachineName = '.'
                }
            }
        }
    }
}
Set-Alias -Name Get-Service -Value Microsoft.PowerShell.Commands.GetServiceCommand

function Get-NetAdapter {
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string[]] $Name = '*', [switch] $IncludeHidden, [switch] $Physical)
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    $failure = Test-RmmLabCimClass -Space 'root/StandardCimv2' -Name 'MSFT_NetAdapter'
    if ($failure) { $PSCmdlet.WriteError($failure); return }
    $class = [RmmLabTypes]::Class('root/StandardCimv2', 'MSFT_NetAdapter')
    foreach ($one in Get-RmmLabInstance -Class $class -Chosen @($class.Types.Keys)) {
        if (-not ($Name | Where-Object { $one.Name -like $_ })) { continue }
        if (($one.Hidden -and -not $IncludeHidden) -or ($Physical -and -not $one.ConnectorPresent)) { continue }
        $more = @{
            ifIndex = $one.InterfaceIndex; ifName = $one.InterfaceName; ifDesc = $one.InterfaceDescription
            MacAddress = "$($one.PermanentAddress)" -replace '(..)(?=.)', '$1-'
            Status = $(if ($one.InterfaceOperationalStatus -eq 1) { 'Up' } elseif ($one.InterfaceAdminStatus -eq 2) { 'Disabled' } else { 'Disconnected' })
        }
        foreach ($entry in $more.GetEnumerator()) { $one.PSObject.Properties.Add([PSNoteProperty]::new($entry.Key, $entry.Value), $true) }
        $one
    }
}

# The state's `appx`. A machine whose state has no such list lacks the command, as Server Core does.
function Get-AppxPackage {
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string] $Name = '*', [Parameter(Position = 1)] [string] $Publisher = '*', [switch] $AllUsers, [string] $User, [string[]] $PackageTypeFilter)
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    $all = [RmmLab]::Member([RmmLab]::Root, 'appx')
    if ($null -eq $all) {
        $reason = [System.Management.Automation.CommandNotFoundException]::new("The term 'Get-AppxPackage' is not recognized as the name of a cmdlet.")
        $PSCmdlet.ThrowTerminatingError([ErrorRecord]::new($reason, 'CommandNotFoundException', 'ObjectNotFound', 'Get-AppxPackage'))
    }
    if ($AllUsers -and [RmmLab]::Lists('denied', 'appx', ' ')) {
        $reason = [System.UnauthorizedAccessException]::new('Access is denied.')
        $id = 'System.UnauthorizedAccessException,Microsoft.Windows.Appx.PackageManager.Commands.GetAppxPackageCommand'
        $PSCmdlet.ThrowTerminatingError([ErrorRecord]::new($reason, $id, 'PermissionDenied', $null))
    }
    foreach ($raw in $all.EnumerateArray()) {
        $package = [RmmLab]::Plain($raw)
        if ($package['Name'] -like $Name -and $package['Publisher'] -like $Publisher) { [pscustomobject] $package }
    }
}
