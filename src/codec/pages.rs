//! Checksums of a sealed segment's pages.
