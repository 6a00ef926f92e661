$computer = Get-CimInstance -Query 'SELECT Manufacturer, Model, TotalPhysicalMemory FROM Win32_ComputerSystem'
$product = Get-CimInstance -Query 'SELECT UUID, IdentifyingNumber FROM Win32_ComputerSystemProduct'
$bios = Get-CimInstance -Query 'SELECT SerialNumber, SMBIOSBIOSVersion, ReleaseDate FROM Win32_BIOS'
$enclosure = Get-CimInstance -Query 'SELECT ChassisTypes, SMBIOSAssetTag FROM Win32_SystemEnclosure'
$processor = Get-CimInstance -Query 'SELECT Name, NumberOfCores, NumberOfLogicalProcessors FROM Win32_Processor'
$disk = Get-CimInstance -Query 'SELECT Model, Size FROM Win32_DiskDrive'
$slots = Get-CimInstance -Query 'SELECT MemoryDevices FROM Win32_PhysicalMemoryArray'
$module = Get-CimInstance -Query 'SELECT Tag, Capacity FROM Win32_PhysicalMemory'
$document = @{
    computer = @($computer | Select-Object -Property Manufacturer, Model, TotalPhysicalMemory)
    product = @($product | Select-Object -Property UUID, IdentifyingNumber)
    bios = @(foreach ($item in $bios) {
        @{ SerialNumber = $item.SerialNumber; SMBIOSBIOSVersion = $item.SMBIOSBIOSVersion; ReleaseDate = ConvertTo-Utc $item.ReleaseDate }
    })
    enclosure = @(foreach ($item in $enclosure) { @{ ChassisTypes = @($item.ChassisTypes); SMBIOSAssetTag = $item.SMBIOSAssetTag } })
    processor = @($processor | Select-Object -Property Name, NumberOfCores, NumberOfLogicalProcessors)
    slots = @($slots | Select-Object -Property MemoryDevices)
    module = @($module | Select-Object -Property Tag, Capacity)
    disk = @($disk | Select-Object -Property Model, Size)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
