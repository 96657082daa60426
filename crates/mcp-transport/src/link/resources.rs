//! News of single resources: a subscription with the server (2025-11-25), or a stream of one's own (2026-07-28).

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_core::JsonObject;
use rmcp::model::{ClientNotification, CustomNotification, SubscriptionFilter};
use rmcp::service::ServiceError;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use super::{Farewell, Link, RENEWALS, Routes};

impl Routes {
    fn watched(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Watches a resource until the answer is dropped.
    pub(crate) async fn watch_resource(&self, uri: &str) -> Result<Watching, ServiceError> {
        let feed = self.routes.updated.subscribe();
        let ends = if self.modern {
            let filter = SubscriptionFilter::builder().resource_subscriptions([uri]).build();
            let mut subscription = self.peer.listen(filter.clone()).await?;
            let (peer, routes, address) = (self.peer.clone(), self.routes.clone(), uri.to_owned());
            Ends::Stream(tokio::spawn(async move {
                for renewal in 0..RENEWALS {
                    while let Ok(Some(notice)) = subscription.next().await {
                        routes.note(&notice);
                    }
                    tokio::time::sleep(Duration::from_secs(1 << renewal)).await;
                    match peer.listen(filter.clone()).await {
                        Ok(renewed) => subscription = renewed,
                        Err(error) => {
                            tracing::debug!(%error, "the subscription to a resource is over");
                            return;
                        }
                    }
                    // What changed in between was not told.
                    let _ = routes.updated.send(address.clone());
                }
            }))
        } else {
            // Counted before it is asked for: a watcher that ends meanwhile must not end this one's subscription.
            *self.routes.watched().entry(uri.to_owned()).or_default() += 1;
            let routes = self.routes.clone();
            let ends = Ends::Subscription { routes, cancel: self.cancel.clone(), uri: uri.to_owned() };
            let params = JsonObject::from_iter([("uri".to_owned(), json!(uri))]);
            let _: Value = self.raw("resources/subscribe", params, None).await?;
            ends
        };
        Ok(Watching { feed, _ends: ends })
    }
}

impl Link {
    /// Tells the server that its roots changed. Revision 2026-07-28 knows no such notice: there they are told anew with
    /// each request that asks for them.
    pub(crate) async fn roots_changed(&self) -> Result<(), ServiceError> {
        if self.modern {
            return Ok(());
        }
        let notice = CustomNotification::new("notifications/roots/list_changed", None);
        self.peer.send_notification(ClientNotification::CustomNotification(notice)).await
    }
}

/// A resource that is watched.
pub(crate) struct Watching {
    pub(crate) feed: broadcast::Receiver<String>,
    _ends: Ends,
}

/// What ends with a watch.
enum Ends {
    Stream(JoinHandle<()>),
    Subscription { routes: Arc<Routes>, cancel: mpsc::UnboundedSender<Farewell>, uri: String },
}

impl Drop for Ends {
    fn drop(&mut self) {
        match self {
            Self::Stream(task) => task.abort(),
            Self::Subscription { routes, cancel, uri } => {
                let mut watched = routes.watched();
                if let Some(count) = watched.get_mut(uri) {
                    *count -= 1;
                    if *count == 0 {
                        watched.remove(uri);
                        // The keeper sends it; where that is gone, so is the session.
                        let _ = cancel.send(Farewell::Resource(std::mem::take(uri)));
                    }
                }
            }
        }
    }
}
