//! What if it fails? Middlewares for any [`tower` service](tower_service::Service), without a word of any protocol in them.
//!
//! Each one is a module with the same four parts: the service, its layer, its future, its error. Time is tokio's, so
//! tests pause it. Dropping a service's future ends everything it had begun.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::{deadline::DeadlineLayer, timeout::TimeoutLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let slow = service_fn(|_question: &'static str| async {
//!     tokio::time::sleep(Duration::from_secs(90)).await;
//!     Ok::<_, Infallible>("too late")
//! });
//! let service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(300))) // all attempts together
//!     .layer(TimeoutLayer::new(Duration::from_secs(60))) // each attempt
//!     .service(slow);
//!
//! let error = service.oneshot("anyone there?").await.unwrap_err();
//! assert_eq!(error.to_string(), "no answer within 60 s");
//! # }
//! ```
//!
//! # Features
//!
//! None: what is not used costs nothing.

pub mod backoff;
pub mod breaker;
pub mod bulkhead;
pub mod deadline;
pub mod health;
pub mod in_flight;
pub mod observe;
mod oneshot;
pub mod rate_limit;
pub mod restart;
pub mod retry;
mod sync;
pub mod timeout;
