//! Floors: the least that the hardware and the kernel ask for, written by hand.

pub mod checked;
mod direct;
mod file;
mod followed;
pub mod group;
pub mod memory;
pub mod writes;
