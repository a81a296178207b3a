"""What the measuring needs around it: servers, processes, counters."""
