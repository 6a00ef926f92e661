$feature = Get-CimInstance -Query 'SELECT Name, InstallState FROM Win32_OptionalFeature WHERE InstallState = 1'
ConvertTo-Json -InputObject @{ feature = @($feature | Select-Object -Property Name, InstallState) } -Compress -Depth 4
