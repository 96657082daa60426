//! An example MCP server: a library. It searches a small collection of texts and reads from them.
//!
//! The server is a [`mcp_core::ToolService`]; `main.rs` offers it over standard input and output.
//!
//! ```
//! use library::{Collection, Index};
//!
//! let collection = Collection::built_in();
//! let hits = Index::new(&collection).search(&collection, "hours between two high waters", 1);
//! assert_eq!(hits[0].text.title, "Tides");
//! assert!(hits[0].passage.contains("12 hours and 25 minutes"));
//! ```

mod collection;
mod rank;
mod service;

pub use collection::{Collection, Text};
pub use rank::{Hit, Index};
pub use service::Library;
