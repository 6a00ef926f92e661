@{
    RootModule = 'RmmLab.Windows.psm1'
    ModuleVersion = '1.0.0'
    GUID = '7d2f1d0e-6a52-4a3c-9a1b-3f0f5f0c5b11'
    Author = 'MyTech RMM'
    Description = "Stand-ins for Windows' commands, fed from a machine's state"
    PowerShellVersion = '7.0'
    # A function bears the name of the type whose place it takes, so that its errors bear it too; scripts know the alias.
    FunctionsToExport = @(
        'Import-RmmLabState', 'Get-RmmLabRefusal'
        'Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand'
        'Microsoft.PowerShell.Commands.GetWinEventCommand', 'Microsoft.PowerShell.Commands.NewObjectCommand'
        'Microsoft.PowerShell.Commands.GetServiceCommand'
        'Get-ScheduledTask', 'Get-ScheduledTaskInfo', 'Get-NetAdapter', 'Get-AppxPackage'
        'Microsoft.Management.Infrastructure.CimCmdlets.InvokeCimMethodCommand'
        'Microsoft.PowerShell.Commands.GetLocalUserCommand', 'Microsoft.PowerShell.Commands.GetLocalGroupMemberCommand'
    )
    AliasesToExport = @(
        'Get-CimInstance', 'Get-WinEvent', 'New-Object', 'Get-Service'
        'Invoke-CimMethod', 'Get-LocalUser', 'Get-LocalGroupMember'
    )
    CmdletsToExport = @()
    VariablesToExport = @()
}
