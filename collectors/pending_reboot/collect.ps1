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
# The service's key says whether the client is installed: then it is asked.
$manager = @()
$notes = @()
if (Test-Path -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Services\CcmExec') {
    try {
        $answer = Invoke-CimMethod -Namespace root/ccm/clientsdk -ClassName CCM_ClientUtilities -MethodName DetermineIfRebootPending -ErrorAction Stop
        if ($answer.RebootPending -or $answer.IsHardRebootPending) {
            $manager = @(@{ RebootPending = $answer.RebootPending; IsHardRebootPending = $answer.IsHardRebootPending })
        }
    } catch {
        $notes = @(@{ Source = 'manager'; Reason = Get-Reason $_ })
    }
}
# A few of them say enough; installers leave thousands.
$renames = $session.PendingFileRenameOperations
if ($null -ne $renames) { $renames = @($renames | Select-Object -First 20) }
$document = @{
    cbs = $cbs
    update = $update
    session = @(@{ PendingFileRenameOperations = $renames })
    active_name = @(@{ ComputerName = $active.ComputerName })
    next_name = @(@{ ComputerName = $next.ComputerName })
    netlogon = $netlogon
    manager = $manager
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
