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
/// Bytes of a tool's description that a model is shown; the rest is cut off with a mark.
pub const DESCRIPTION_BYTES: usize = 16 * 1024;
/// Bytes of the arguments of one call: a file of a few MiB fits.
pub const CALL_BYTES: usize = 10 * 1024 * 1024;
/// Levels of objects and arrays in the arguments of one call.
pub const CALL_DEPTH: usize = 64;
/// Values in the arguments of one call.
pub const CALL_NODES: usize = 100_000;
/// Members of one object in the arguments of one call.
pub const CALL_KEYS: usize = 10_000;
/// Bytes of a tool's schema.
pub const SCHEMA_BYTES: usize = 256 * 1024;
/// Levels of objects and arrays in a schema.
pub const SCHEMA_DEPTH: usize = 64;
/// Values in a schema.
pub const SCHEMA_NODES: usize = 10_000;
/// Values of one `enum`.
pub const SCHEMA_ENUM: usize = 1000;
/// Schemas reached from the root once references are followed: doubling references reach it in 14 steps.
pub const SCHEMA_EXPANDED: usize = 20_000;
/// References one behind the other.
pub const SCHEMA_HOPS: usize = 64;
/// Bytes of one component of a path (`NAME_MAX`).
pub const PATH_COMPONENT_BYTES: usize = 255;
/// Bytes of a path (`PATH_MAX`).
pub const PATH_BYTES: usize = 4096;
/// Redirects of one request.
pub const REDIRECTS: usize = 10;
/// Bytes of a schema's `default`, `const` or example that a model is shown.
pub const SCHEMA_VALUE_BYTES: usize = 4 * 1024;
