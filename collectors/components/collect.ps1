# Monitors name themselves in lists of characters, filled up with zeros.
function Get-Chars {
    param($Codes)
    (-join @(foreach ($code in $Codes) { if ($code) { [char][int]$code } })).Trim()
}
$component = @()
foreach ($item in Get-CimInstance -Query 'SELECT Tag, DeviceLocator, BankLabel, Capacity, ConfiguredClockSpeed, Manufacturer, PartNumber, SerialNumber FROM Win32_PhysicalMemory') {
    $component += @{ Kind = 'memory'; Id = "$($item.Tag) $($item.DeviceLocator)"; Name = $item.BankLabel; Maker = $item.Manufacturer; Serial = $item.SerialNumber; Size = $item.Capacity; Speed = $item.ConfiguredClockSpeed; Detail = $item.PartNumber }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Model, SerialNumber, FirmwareRevision, Size, InterfaceType FROM Win32_DiskDrive') {
    $component += @{ Kind = 'disk'; Id = $item.DeviceID; Name = $item.Model; Serial = $item.SerialNumber; Version = $item.FirmwareRevision; Size = $item.Size; Detail = $item.InterfaceType }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, AdapterCompatibility, DriverVersion, VideoProcessor, ConfigManagerErrorCode FROM Win32_VideoController') {
    $component += @{ Kind = 'graphics'; Id = $item.DeviceID; Name = $item.Name; Maker = $item.AdapterCompatibility; Version = $item.DriverVersion; Detail = $item.VideoProcessor; Error = $item.ConfigManagerErrorCode }
}
try {
    foreach ($item in Get-CimInstance -Namespace 'root/wmi' -Query 'SELECT InstanceName, ManufacturerName, ProductCodeID, SerialNumberID, UserFriendlyName, YearOfManufacture FROM WmiMonitorID' -ErrorAction Stop) {
        $component += @{ Kind = 'monitor'; Id = $item.InstanceName; Name = Get-Chars $item.UserFriendlyName; Maker = Get-Chars $item.ManufacturerName; Serial = Get-Chars $item.SerialNumberID; Version = Get-Chars $item.ProductCodeID; Detail = $item.YearOfManufacture }
    }
} catch {
    # Virtual machines and servers without a monitor answer "not supported".
    $null = $_
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, DriverName, PortName FROM Win32_Printer') {
    $component += @{ Kind = 'printer'; Id = $item.DeviceID; Name = $item.DriverName; Detail = $item.PortName }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, Manufacturer, ConfigManagerErrorCode FROM Win32_USBController') {
    $component += @{ Kind = 'usb'; Id = $item.DeviceID; Name = $item.Name; Maker = $item.Manufacturer; Error = $item.ConfigManagerErrorCode }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, Manufacturer, ConfigManagerErrorCode FROM Win32_SoundDevice') {
    $component += @{ Kind = 'sound'; Id = $item.DeviceID; Name = $item.Name; Maker = $item.Manufacturer; Error = $item.ConfigManagerErrorCode }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, DesignCapacity, FullChargeCapacity FROM Win32_Battery') {
    $component += @{ Kind = 'battery'; Id = $item.DeviceID; Name = $item.Name; Design = $item.DesignCapacity; Full = $item.FullChargeCapacity }
}
foreach ($item in Get-CimInstance -Query 'SELECT Tag, Manufacturer, Product, SerialNumber, Version FROM Win32_BaseBoard') {
    $component += @{ Kind = 'board'; Id = $item.Tag; Name = $item.Product; Maker = $item.Manufacturer; Serial = $item.SerialNumber; Version = $item.Version }
}
foreach ($item in Get-CimInstance -Query 'SELECT Tag, Manufacturer, Model, SerialNumber, SMBIOSAssetTag, ChassisTypes FROM Win32_SystemEnclosure') {
    $component += @{ Kind = 'chassis'; Id = $item.Tag; Name = $item.Model; Maker = $item.Manufacturer; Serial = $item.SerialNumber; Version = $item.SMBIOSAssetTag; Detail = "$($item.ChassisTypes)" }
}
ConvertTo-Json -InputObject @{ component = $component } -Compress -Depth 4
