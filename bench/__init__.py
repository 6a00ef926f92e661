"""Benchmarks: ratios in one run, CPU time of the client process, pypsrp and pywinrm beside the native transport."""
