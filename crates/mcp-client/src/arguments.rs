//! What the arguments of a call say besides their schema: where their paths lie, and what should not travel.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mcp_core::{ToolError, ToolOutput};
use mcp_security::{Verdict, args};
use tower::{Layer, Service};

use crate::judged::{Judgement, Subject};
use crate::pipeline::Request;
use crate::server::Shared;

/// Puts [`Arguments`] around a service.
#[derive(Clone)]
pub(crate) struct ArgumentsLayer {
    server: Arc<Shared>,
}

impl ArgumentsLayer {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl<S> Layer<S> for ArgumentsLayer {
    type Service = Arguments<S>;

    fn layer(&self, inner: S) -> Arguments<S> {
        let roots = self.server.config.roots.iter().map(|root| root.to_string_lossy().into_owned());
        let rules = args::Server { roots: roots.collect(), ..args::Server::default() };
        Arguments { inner, server: self.server.clone(), rules: Arc::new(rules) }
    }
}

/// Refuses calls whose arguments lead out of the server's folders, tells of what looks as if it should not travel, and
/// takes out what people cannot see.
#[derive(Clone)]
pub(crate) struct Arguments<S> {
    inner: S,
    server: Arc<Shared>,
    rules: Arc<args::Server>,
}

impl<S> Service<Request> for Arguments<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError>,
    S::Future: Send + 'static,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let server = &request.spec.server;
        match args::judge(request.spec.name.as_str(), &request.call.arguments, &self.rules) {
            Verdict::Allow => {}
            Verdict::Sanitize(clean) => request.call.arguments = clean,
            Verdict::Flag(findings) => {
                for finding in findings {
                    let subject = Subject::Call(request.spec.name.clone());
                    self.server.observer.judged(server, &Judgement::told(subject, finding));
                }
            }
            Verdict::Block(refusal) => {
                let server = server.clone();
                return Box::pin(async move { Err(ToolError::Refused { server, refusal }) });
            }
        }
        Box::pin(self.inner.call(request))
    }
}
