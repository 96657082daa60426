//! What stands between a client and its server: it passes bytes on, loses them, and resets connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::listener::Listener;
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
    listener: Listener,
    order: watch::Sender<Order>,
    /// So many of the next connections are reset before anything is read.
    refusals: Arc<AtomicUsize>,
    open: Open,
}

impl TcpRelay {
    /// Stands before the server at this address, on a free port of 127.0.0.1.
    pub fn start(server: SocketAddr) -> Self {
        let order = watch::Sender::new(Order::default());
        let (refusals, open): (Arc<AtomicUsize>, Open) = Default::default();
        let (orders, left, here) = (order.subscribe(), refusals.clone(), open.clone());
        let listener = Listener::bind().serve(move |client| {
            let refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            let line = match refused {
                Ok(_) => Err(client),
                Err(_) => Ok(Line::new(client, orders.clone(), &here)),
            };
            async move {
                match line {
                    Ok(line) => line.relay(server).await,
                    Err(client) => drop(client.set_zero_linger()),
                }
            }
        });
        Self { listener, order, refusals, open }
    }

    /// An address below it, as `http://127.0.0.1:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        self.listener.url(path)
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

/// One connection and the orders for it.
struct Line {
    client: TcpStream,
    order: watch::Receiver<Order>,
    connection: Connection,
}

impl Line {
    fn new(client: TcpStream, order: watch::Receiver<Order>, open: &Open) -> Self {
        let connection = Connection::new(open, order.borrow().resets);
        Self { client, order, connection }
    }

    async fn relay(self, server: SocketAddr) {
        // It counts as open until the client's socket is gone, so it is dropped after it.
        let Self { connection, mut order, mut client } = self;
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let _ = server.set_nodelay(true);
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            let swallows = {
                let order = order.borrow_and_update();
                if order.resets != connection.begun {
                    let _ = client.set_zero_linger();
                    return;
                }
                order.swallows
            };
            let (to, bytes) = tokio::select! {
                changed = order.changed() => match changed {
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
