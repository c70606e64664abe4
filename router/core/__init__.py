"""Pure routing: values in, values out. No clock, no chance, no I/O; time and tie-breaks come in as arguments."""
