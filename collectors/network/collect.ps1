$perf = Get-CimInstance -Query 'SELECT Name, BytesReceivedPersec, BytesSentPersec, PacketsReceivedPersec, PacketsSentPersec, PacketsReceivedErrors, PacketsOutboundErrors, PacketsReceivedDiscarded, PacketsOutboundDiscarded, OutputQueueLength, CurrentBandwidth, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_NetworkInterface'
$document = @{
    perf = @($perf | Select-Object -Property Name, BytesReceivedPersec, BytesSentPersec, PacketsReceivedPersec, PacketsSentPersec, PacketsReceivedErrors, PacketsOutboundErrors, PacketsReceivedDiscarded, PacketsOutboundDiscarded, OutputQueueLength, CurrentBandwidth, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
