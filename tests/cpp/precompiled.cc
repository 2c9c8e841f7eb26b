// The target that compiles precompiled.h; it is not built as a program.
