$names = 'HKLM:\SYSTEM\CurrentControlSet\Control\ComputerName'
$session = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager'
$active = Get-ItemProperty -LiteralPath "$names\ActiveComputerName"
$next = Get-ItemProperty -LiteralPath "$names\ComputerName"
$cbs = @()
if (Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') { $cbs = @(@{}) }
$update = @()
if (Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') { $update = @(@{}) }
$netlogon = @()
$key = 'HKLM:\SYSTEM\CurrentControlSet\Services\Netlogon'
if (Test-Path -LiteralPath $key) {
    $values = Get-ItemProperty -LiteralPath $key
    $netlogon = @(@{ JoinDomain = $values.JoinDomain; AvoidSpnSet = $values.AvoidSpnSet })
}
# A few of them say enough; installers leave thousands.
$renames = @($session.PendingFileRenameOperations | Where-Object -FilterScript { $_ } | Select-Object -First 20)
if ($renames.Count -eq 0) { $renames = $null }
$document = @{
    cbs = $cbs
    update = $update
    session = @(@{ PendingFileRenameOperations = $renames })
    active_name = @(@{ ComputerName = $active.ComputerName })
    next_name = @(@{ ComputerName = $next.ComputerName })
    netlogon = $netlogon
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
