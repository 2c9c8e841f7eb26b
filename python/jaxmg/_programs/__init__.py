"""Programs of the routines: global arrays in, global arrays out."""
