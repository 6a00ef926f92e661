"""The async worker that polls shards: visits, rounds, worker processes. It sees ports, never adapters."""
