//! Discord's gateway: a WebSocket that says hello, takes a login and answers heartbeats.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{World, discord, is_open};

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// No client says more at once.
const LONGEST: u64 = 1 << 20;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Speaks with one client until it goes away.
pub(super) async fn serve<S>(stream: &mut BufReader<S>, world: &World, key: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        BASE64_STANDARD.encode(hash)
    );
    if stream.get_mut().write_all(head.as_bytes()).await.is_ok() {
        // The end of the connection ends the conversation.
        let _ = converse(stream, world).await;
    }
}

async fn converse<S>(stream: &mut BufReader<S>, world: &World) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send(stream, &json!({"op": 10, "d": {"heartbeat_interval": 41250}, "s": null, "t": null})).await?;
    while is_open(stream).await {
        let (kind, data) = receive(stream).await?;
        match kind {
            CLOSE => return frame(stream, CLOSE, &data).await,
            PING => frame(stream, PONG, &data).await?,
            TEXT => {
                let message: Value = serde_json::from_slice(&data).unwrap_or_default();
                match message["op"].as_u64() {
                    Some(1) => send(stream, &json!({"op": 11, "d": null})).await?,
                    Some(2) if message["d"]["token"] == discord::TOKEN => {
                        for event in login(world) {
                            send(stream, &event).await?;
                        }
                    }
                    // 4004: authentication failed.
                    Some(2) => return frame(stream, CLOSE, &4004_u16.to_be_bytes()).await,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn login(world: &World) -> [Value; 2] {
    let ready = json!({
        "v": 10, "user": discord::bot(), "guilds": [{"id": discord::GUILD, "unavailable": true}],
        "session_id": "session", "resume_gateway_url": discord::gateway(world), "shard": [0, 1],
        "application": {"id": discord::BOT, "flags": 0}, "session_type": "normal", "private_channels": [],
        "presences": [],
    });
    [
        json!({"op": 0, "s": 1, "t": "READY", "d": ready}),
        json!({"op": 0, "s": 2, "t": "GUILD_CREATE", "d": discord::whole_guild()}),
    ]
}

async fn send<S>(stream: &mut BufReader<S>, message: &Value) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    frame(stream, TEXT, message.to_string().as_bytes()).await
}

/// One whole frame; a server's are not masked.
async fn frame<S>(stream: &mut BufReader<S>, kind: u8, data: &[u8]) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = vec![0x80 | kind];
    match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(length), _) if length < 126 => bytes.push(length),
        (_, Ok(length)) => {
            bytes.push(126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend((data.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(data);
    stream.get_mut().write_all(&bytes).await?;
    stream.get_mut().flush().await
}

async fn receive<S>(stream: &mut BufReader<S>) -> std::io::Result<(u8, Vec<u8>)>
where
    S: AsyncRead + Unpin,
{
    let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        length => u64::from(length),
    };
    if length > LONGEST {
        return Err(std::io::Error::other("too long"));
    }
    let mask = if second & 0x80 == 0 { [0; 4] } else { stream.read_u32().await?.to_be_bytes() };
    let mut data = vec![0; usize::try_from(length).expect("it is short")];
    stream.read_exact(&mut data).await?;
    for (byte, mask) in data.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((first & 0x0f, data))
}
