"""The native libraries: loading, plans, FFI calls."""
