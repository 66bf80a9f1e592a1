//! Records of the manifest.
