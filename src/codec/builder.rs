//! Records straight into the batch they will be written in.
