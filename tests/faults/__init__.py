"""What a machine does to a server: full and failing disks, no descriptors, stopped processes, clocks that jump."""
