//! massgen-testkit
