"""The configuration on disk, read and judged: here for a start, and in a process of its own for a reload."""
