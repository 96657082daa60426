//! What stands between a client and its server: it passes bytes on, loses them, and resets connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::{PATIENCE, process};

/// What it does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Order {
    /// Nothing is passed on, in either direction.
    swallows: bool,
    /// Connections that were made before this order are reset.
    resets: u64,
}

/// The resets there had been when each of the open connections was made.
type Open = Arc<Mutex<Vec<u64>>>;

/// A running relay to one server, on a thread and a runtime of its own. It ends on drop.
#[derive(Debug)]
pub struct TcpRelay {
    address: SocketAddr,
    order: watch::Sender<Order>,
    /// So many of the next connections are reset before anything is read.
    refusals: Arc<AtomicUsize>,
    open: Open,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TcpRelay {
    /// Stands before the server at this address, on a free port of 127.0.0.1.
    pub fn start(server: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let order = watch::Sender::new(Order::default());
        let (refusals, open): (Arc<AtomicUsize>, Open) = Default::default();
        let line = Line { server, order: order.subscribe(), refusals: refusals.clone(), open: open.clone() };
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = line.accept(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, order, refusals, open, stop: Some(stop), thread: Some(thread) }
    }

    /// An address below it, as `http://127.0.0.1:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on nothing comes through; connections stay open and can be made, as on a line that was cut far away.
    pub fn swallow(&self) {
        self.order.send_modify(|order| order.swallows = true);
    }

    /// Everything comes through again. Connections that lost something are reset.
    pub fn pass(&self) {
        self.order.send_modify(|order| *order = Order { swallows: false, resets: order.resets + 1 });
    }

    /// Resets all open connections (RST), and waits until they are.
    pub async fn reset(&self) {
        self.order.send_modify(|order| order.resets += 1);
        let resets = self.order.borrow().resets;
        let is_old = |begun: &u64| *begun < resets;
        process::until(PATIENCE, || !self.open.lock().unwrap().iter().any(is_old)).await;
    }

    /// So many of the next connections are accepted and reset, before anything of them is read.
    pub fn refuse_next(&self, connections: usize) {
        self.refusals.store(connections, Ordering::SeqCst);
    }

    /// Refusals that nobody has met yet.
    pub fn refusals_left(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Line {
    server: SocketAddr,
    order: watch::Receiver<Order>,
    refusals: Arc<AtomicUsize>,
    open: Open,
}

impl Line {
    async fn accept(self, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let refused =
                self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if refused.is_ok() {
                let _ = stream.set_zero_linger();
                continue;
            }
            let begun = self.order.borrow().resets;
            let connection = Connection::new(&self.open, begun);
            tasks.spawn(self.clone().relay(connection, stream));
            while tasks.try_join_next().is_some() {}
        }
    }

    async fn relay(mut self, connection: Connection, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            let swallows = {
                let order = self.order.borrow_and_update();
                if order.resets != connection.begun {
                    let _ = client.set_zero_linger();
                    return;
                }
                order.swallows
            };
            let (to, bytes) = tokio::select! {
                changed = self.order.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                read = client.read(&mut up) => match read {
                    Ok(count @ 1..) => (&mut server, &up[..count]),
                    _ => return,
                },
                read = server.read(&mut down) => match read {
                    Ok(count @ 1..) => (&mut client, &down[..count]),
                    _ => return,
                },
            };
            if !swallows && to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }
}

/// One of the open connections.
struct Connection {
    begun: u64,
    open: Open,
}

impl Connection {
    fn new(open: &Open, begun: u64) -> Self {
        open.lock().unwrap().push(begun);
        Self { begun, open: open.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap();
        if let Some(at) = open.iter().position(|begun| *begun == self.begun) {
            open.swap_remove(at);
        }
    }
}
