//! What every server here is: a port of loopback, and a thread with a runtime of its own behind it.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A port on which connections are served. Dropping it ends every connection and the thread.
///
/// The thread and the runtime are its own, so that it serves blocking tests as well, and delays are real even where the
/// test's clock is paused.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    /// A free port of 127.0.0.1, on which nobody answers before [`Bound::serve`].
    pub(crate) fn bind() -> Bound {
        Bound(std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address below it, as `http://127.0.0.1:PORT/path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A port that is taken already, so that its address is known to what will answer there.
#[derive(Debug)]
pub(crate) struct Bound(std::net::TcpListener);

impl Bound {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// Hands on each connection, in the order they are made. What comes back runs beside the others.
    pub(crate) fn serve<C>(self, mut connection: impl FnMut(TcpStream) -> C + Send + 'static) -> Listener
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let address = self.address();
        self.0.set_nonblocking(true).expect("a socket");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(self.0).expect("a listener");
                // Dropped with this future: no connection outlives the listener.
                let mut tasks = JoinSet::new();
                let accept = async {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else { continue };
                        // Delayed acknowledgements would cost 40 ms a small write.
                        let _ = stream.set_nodelay(true);
                        tasks.spawn(connection(stream));
                        while tasks.try_join_next().is_some() {}
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Listener { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was printed by its own thread.
            let _ = thread.join();
        }
    }
}
