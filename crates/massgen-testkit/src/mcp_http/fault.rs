//! Trouble over HTTP.

/// Trouble in place of an answer.
#[derive(Debug, Clone)]
pub enum HttpFault {
    /// A status, headers, and a body with its type.
    Status {
        /// The status.
        status: u16,
        /// Further headers, such as `retry-after` or `www-authenticate`.
        headers: Vec<(String, String)>,
        /// Type and text of the body.
        body: (String, String),
    },
    /// The connection closes without an answer, before the server has acted.
    Close,
    /// The connection is reset without an answer, before the server has acted.
    Reset,
    /// The server acts, and then the connection is reset without an answer.
    ResetAfterwards,
    /// No answer, and the connection stays.
    Hang,
    /// The stream of the answer is cut after so many events.
    Cut(usize),
}

impl HttpFault {
    /// A status with a short text.
    pub fn status(status: u16) -> Self {
        let body = ("text/plain".into(), format!("scripted status {status}"));
        Self::Status { status, headers: Vec::new(), body }
    }

    /// Adds a header to a [`HttpFault::status`].
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.into(), value.to_string()));
        }
        self
    }

    /// Adds `retry-after`; any text, so that nonsense can be sent too.
    #[must_use]
    pub fn retry_after(self, value: impl ToString) -> Self {
        self.header("retry-after", value)
    }

    /// A captive portal: 200 and HTML.
    pub fn html() -> Self {
        let body = ("text/html".into(), "<html><title>Sign in</title></html>".into());
        Self::Status { status: 200, headers: Vec::new(), body }
    }
}
