//! massgen-config
