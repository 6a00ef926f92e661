$volume = Get-CimInstance -Query 'SELECT Name, Label, FileSystem, Capacity, FreeSpace, DirtyBitSet FROM Win32_Volume WHERE DriveType = 3'
$document = @{
    volume = @($volume | Select-Object -Property Name, Label, FileSystem, Capacity, FreeSpace, DirtyBitSet)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
