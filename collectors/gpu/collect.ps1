$notes = @()
$memory = @()
$engines = @()
try {
    $memory = Get-CimInstance -Query 'SELECT Name, DedicatedUsage, SharedUsage FROM Win32_PerfRawData_GPUPerformanceCounters_GPUAdapterMemory'
    # Windows' own percent: of raw counters the poller would have to keep hundreds per endpoint, one per process and engine.
    $engines = Get-CimInstance -Query 'SELECT Name, UtilizationPercentage FROM Win32_PerfFormattedData_GPUPerformanceCounters_GPUEngine WHERE UtilizationPercentage > 0'
} catch {
    $notes = @(@{ Source = 'adapter'; Reason = Get-Reason $_ })
    $memory = @()
}
# DirectX notes each adapter with the number (LUID) that it has until the next start; the counters name it by that.
$known = @{}
foreach ($key in Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\DirectX\*' -ErrorAction SilentlyContinue) {
    if ($null -eq $key.AdapterLuid -or $null -eq $key.Description) { continue }
    $luid = [long]$key.AdapterLuid
    $high = ($luid -shr 32) -band 4294967295
    $low = $luid -band 4294967295
    $known['luid_0x' + $high.ToString('X8') + '_0x' + $low.ToString('X8')] = $key
}
$drivers = @{}
foreach ($item in Get-CimInstance -Query 'SELECT Name, DriverVersion FROM Win32_VideoController') {
    if ($item.Name) { $drivers[$item.Name] = $item.DriverVersion }
}
# What all processes take of an engine is its load.
$load = @{}
$kind = @{}
foreach ($item in $engines) {
    if ("$($item.Name)" -notmatch '(luid_0x[0-9A-F]+_0x[0-9A-F]+)_phys_([0-9]+)_eng_([0-9]+)_engtype_(.*)$') { continue }
    $engine = $Matches[1] + '|' + $Matches[2] + '|' + $Matches[3]
    $load[$engine] = [double]$item.UtilizationPercentage + $load[$engine]
    $kind[$engine] = $Matches[4]
}
$seen = @{}
$adapter = @(foreach ($item in $memory | Sort-Object -Property Name) {
    if ("$($item.Name)" -notmatch '^(luid_0x[0-9A-F]+_0x[0-9A-F]+)_phys_([0-9]+)$') { continue }
    $luid = $Matches[1]
    $prefix = $luid + '|' + $Matches[2] + '|'
    $found = $known[$luid]
    # 5140 and 140: the Basic Render Driver, which draws without a graphics processor.
    if ($found.VendorId -eq 5140 -and $found.DeviceId -eq 140) { continue }
    $name = $luid
    if ($found) { $name = $found.Description }
    $seen[$name] = 1 + $seen[$name]
    $most = @{ Busiest = 0; Graphics = 0; Compute = 0; Copy = 0; Decode = 0; Encode = 0 }
    foreach ($engine in @($load.Keys)) {
        if ($engine -notlike "$prefix*") { continue }
        $percent = $load[$engine]
        if ($percent -gt 100) { $percent = 100 }
        $type = 'Other'
        if ($kind[$engine] -match '3D$') { $type = 'Graphics' }
        if ($kind[$engine] -match '^(Compute|Cuda)') { $type = 'Compute' }
        if ($kind[$engine] -match '^Copy') { $type = 'Copy' }
        if ($kind[$engine] -match '^Video ?Decode') { $type = 'Decode' }
        if ($kind[$engine] -match '^Video ?Encode') { $type = 'Encode' }
        foreach ($place in 'Busiest', $type) {
            if ($most.ContainsKey($place) -and $percent -gt $most[$place]) { $most[$place] = $percent }
        }
    }
    $driver = $null
    if ($drivers.ContainsKey($name)) { $driver = $drivers[$name] }
    $size = $null
    if ($found.DedicatedVideoMemory) { $size = $found.DedicatedVideoMemory }
    if ($seen[$name] -gt 1) { $name = $name + ' #' + $seen[$name] }
    @{
        Name = $name
        Driver = $driver
        Busiest = $most['Busiest']
        Graphics = $most['Graphics']
        Compute = $most['Compute']
        Copy = $most['Copy']
        Decode = $most['Decode']
        Encode = $most['Encode']
        DedicatedUsage = $item.DedicatedUsage
        DedicatedSize = $size
        SharedUsage = $item.SharedUsage
    }
})
ConvertTo-Json -InputObject @{ adapter = $adapter; notes = $notes } -Compress -Depth 4
