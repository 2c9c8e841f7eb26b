// A program without tests, to which the precompiled header of the others belongs.
