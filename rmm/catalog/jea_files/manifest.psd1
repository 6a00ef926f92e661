# Made by `rmm collector jea`: see docs/jea.md.
@{
    RootModule = '{{module}}.psm1'
    ModuleVersion = '1.0.0'
    GUID = '{{guid}}'
    Author = 'rmm'
    Description = 'Reads what rmm monitors; changes nothing.'
    PowerShellVersion = '5.1'
    FunctionsToExport = @('{{command}}')
    CmdletsToExport = @()
    VariablesToExport = @()
    AliasesToExport = @()
}
