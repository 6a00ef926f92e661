"""Real PowerShell behind the lab's wire: processes, the pool they wait in, and the shells that relay to them."""
