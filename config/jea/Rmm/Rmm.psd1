# Made by `rmm collector jea`: see docs/jea.md.
@{
    RootModule = 'Rmm.psm1'
    ModuleVersion = '1.0.0'
    GUID = 'd9ec008b-04ef-5106-9bb3-41cd856b4955'
    Author = 'rmm'
    Description = 'Reads what rmm monitors; changes nothing.'
    PowerShellVersion = '5.1'
    FunctionsToExport = @('Get-RmmData')
    CmdletsToExport = @()
    VariablesToExport = @()
    AliasesToExport = @()
}
