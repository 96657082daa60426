//! Answers as streams of events, kept where they can be resumed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::{Kept, State};
use crate::engine::Step;
use crate::http::Part;

/// Sends what a stream kept after an event, and then what still comes.
pub(super) async fn resume(
    state: Arc<State>,
    sender: mpsc::UnboundedSender<Part>,
    stream: usize,
    event: usize,
) {
    let mut changes = state.changed.subscribe();
    let mut next = event + 1;
    loop {
        changes.borrow_and_update();
        let (events, ended) = match state.streams.lock().unwrap().get(&stream) {
            Some(kept) => (kept.events.get(next..).unwrap_or_default().to_vec(), kept.ended),
            None => return,
        };
        next += events.len();
        for event in events {
            if sender.send(Part::Bytes(event.into_bytes())).is_err() {
                return;
            }
        }
        if ended || changes.changed().await.is_err() {
            return;
        }
    }
}

/// The stream that answers one request.
pub(super) struct Stream {
    state: Arc<State>,
    sender: Option<mpsc::UnboundedSender<Part>>,
    /// Its number among those that are kept.
    number: Option<usize>,
    sent: usize,
    cut: Option<usize>,
}

impl Stream {
    pub(super) fn new(
        state: Arc<State>,
        sender: mpsc::UnboundedSender<Part>,
        cut: Option<usize>,
        modern: bool,
    ) -> Self {
        let number = (state.options.resumable && !modern).then(|| {
            let mut streams = state.streams.lock().unwrap();
            let number = streams.len();
            streams.insert(number, Kept::default());
            number
        });
        let mut stream = Self { state, sender: Some(sender), number, sent: 0, cut };
        if let Some(retry) = stream.state.options.retry_ms {
            stream.write(format!("retry: {retry}\n\n"));
        }
        if number.is_some() {
            // An event without data, whose id lets a client resume from the very start.
            stream.keep("", "");
        }
        stream.cut_if_due();
        stream
    }

    pub(super) async fn play(mut self, steps: Vec<Step>, key: String) {
        let mut listening = false;
        for step in steps {
            if self.state.cancelled.lock().unwrap().contains(&key) {
                break;
            }
            match step {
                Step::Send(message) => self.event(&message.to_string()),
                Step::Repeat(message, count) => {
                    for _ in 0..count {
                        self.event(&message.to_string());
                    }
                }
                Step::Announce(message) => self.state.announce(&message),
                Step::Progress { token, count, every_ms } => {
                    let mut number: u64 = 0;
                    while number < count && self.is_wanted() {
                        number += 1;
                        let params = json!({"progressToken": token, "progress": number});
                        let message =
                            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                        self.event(&message.to_string());
                        if self.wait(every_ms.max(1), &key).await {
                            break;
                        }
                    }
                }
                Step::Line(bytes) | Step::Bytes(bytes) => self.event(&String::from_utf8_lossy(&bytes)),
                Step::Drip(bytes, every_ms) => {
                    let event = [b"event: message\ndata: ", bytes.trim_ascii_end(), b"\n\n"].concat();
                    for byte in event {
                        self.part(Part::Bytes(vec![byte]));
                        if self.wait(every_ms, &key).await || !self.is_wanted() {
                            break;
                        }
                    }
                }
                Step::Wait(ms) => {
                    self.wait(ms, &key).await;
                }
                Step::Hang => self.part(Part::Hang),
                Step::Exit(_) | Step::Abort | Step::OutOfMemory | Step::OutOfMemoryKilled(_) => {
                    self.part(Part::Close);
                    break;
                }
                Step::Listen(_) => listening = true,
                _ => {}
            }
        }
        if listening && let Some(sender) = self.sender.take() {
            self.state.listeners.lock().unwrap().push(sender);
        }
        if let Some(number) = self.number {
            self.state.streams.lock().unwrap().entry(number).or_default().ended = true;
            self.state.changed.send_replace(());
        }
    }

    /// Somebody reads it, or may read it later.
    fn is_wanted(&self) -> bool {
        self.number.is_some() || self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Lets time pass. True: the request was cancelled meanwhile.
    async fn wait(&self, ms: u64, key: &str) -> bool {
        let mut changes = self.state.changed.subscribe();
        let cancelled = async {
            while !self.state.cancelled.lock().unwrap().contains(key) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_millis(ms), cancelled).await.is_ok()
    }

    fn event(&mut self, data: &str) {
        self.sent += 1;
        self.keep("event: message\n", data);
        self.cut_if_due();
    }

    fn keep(&mut self, name: &str, data: &str) {
        let mut streams = self.state.streams.lock().unwrap();
        let kept = self.number.and_then(|number| Some((number, streams.get_mut(&number)?)));
        let Some((number, kept)) = kept else {
            drop(streams);
            return self.write(format!("{name}data: {data}\n\n"));
        };
        let event = format!("id: {number}-{}\n{name}data: {data}\n\n", kept.events.len());
        kept.events.push(event.clone());
        drop(streams);
        self.state.changed.send_replace(());
        self.write(event);
    }

    fn cut_if_due(&mut self) {
        if self.cut.is_some_and(|cut| self.sent >= cut) {
            self.part(Part::Close);
            self.sender = None;
        }
    }

    fn write(&mut self, text: String) {
        self.part(Part::Bytes(text.into_bytes()));
    }

    fn part(&mut self, part: Part) {
        if let Some(sender) = &self.sender {
            // A client that went away is seen by the connection.
            let _ = sender.send(part);
        }
    }
}
