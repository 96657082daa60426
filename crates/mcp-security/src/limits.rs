//! Sizes beyond which a configuration is refused, each with the reason for its value.

/// Items of a command line, program included. Real servers take a dozen.
pub const ARGV_ITEMS: usize = 256;
/// Bytes of one argument or environment value: Linux refuses 128 KiB with its closing zero (`MAX_ARG_STRLEN`).
pub const ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// Bytes of a whole command line.
pub const ARGV_BYTES: usize = 1024 * 1024;
/// Environment variables of a child, inherited ones included.
pub const ENV_ITEMS: usize = 256;
/// Bytes of a child's whole environment.
pub const ENV_BYTES: usize = 512 * 1024;
/// Bytes of a URL.
pub const URL_BYTES: usize = 8 * 1024;
/// Bytes of a URL at level strict, which keeps v0.0.15's limit.
pub const URL_BYTES_STRICT: usize = 2048;
/// Headers of a remote server.
pub const HEADERS: usize = 64;
/// Bytes of one header value.
pub const HEADER_BYTES: usize = 8 * 1024;
/// Wrappers (`env`, `nice`, `timeout` …) around a program, each inside the other.
pub const WRAPPERS: usize = 4;
