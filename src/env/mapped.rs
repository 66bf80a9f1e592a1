//! Files as memory: the one file with unsafe code.
