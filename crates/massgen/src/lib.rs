//! massgen
