//! Undoes gzip (RFC 1952) piece by piece, and gives up on what swells.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use url::{Host, Url};

use super::posts::Error;
use crate::raw::TooLarge;

/// How much is unpacked at a time: at the best ratio that the format has, to eight megabytes.
const PIECE: usize = 8 * 1024;
/// How many bytes one byte may stand for, on the average, and from which size on that counts. Text hardly comes to 20.
const RATIO: u64 = 200;
const FREE: u64 = 1024 * 1024;

/// Which codings a server is asked for. On this machine the bytes cost less than packing and unpacking them.
pub(super) fn accepted(server: &Url) -> &'static str {
    let is_local = match server.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_local { "identity" } else { "gzip" }
}

/// A body on its way through.
pub(crate) struct Unpack {
    decoder: MultiGzDecoder<Sink>,
    /// What has arrived and is still packed.
    packed: Bytes,
    /// How much has been unpacked, before it was.
    taken: u64,
    ended: bool,
}

impl Default for Unpack {
    fn default() -> Self {
        Self { decoder: MultiGzDecoder::new(Sink::default()), packed: Bytes::new(), taken: 0, ended: false }
    }
}

impl Unpack {
    /// Takes a piece in. What came before must have been taken out.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.packed = piece;
    }

    /// The next unpacked piece of what was taken in.
    ///
    /// # Errors
    ///
    /// For what is not gzip, or swells.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.packed.is_empty() {
            let piece = self.packed.split_to(self.packed.len().min(PIECE));
            self.taken += piece.len() as u64;
            self.decoder.get_mut().allowed = self.taken.saturating_mul(RATIO).max(FREE);
            // Flushed: an event must not wait inside for the next one.
            self.decoder.write_all(&piece).and_then(|()| self.decoder.flush()).map_err(unusable)?;
            if let Some(piece) = self.decoder.get_mut().take() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Nothing more arrives: the last piece, where there is one, and from then on `None`.
    ///
    /// # Errors
    ///
    /// For a body that was cut off.
    pub(crate) fn end(&mut self) -> Result<Option<Bytes>, Error> {
        // A body of nothing is packed as nothing.
        if self.taken > 0 && !self.ended {
            self.ended = true;
            self.decoder.try_finish().map_err(unusable)?;
        }
        Ok(self.decoder.get_mut().take())
    }
}

fn unusable(error: io::Error) -> Error {
    if error.get_ref().is_some_and(|held| held.is::<TooLarge>()) {
        return Error::Io(error);
    }
    Error::UnexpectedServerResponse(format!("a compressed answer that cannot be unpacked: {error}").into())
}

/// Where unpacked bytes go.
#[derive(Default)]
struct Sink {
    bytes: BytesMut,
    /// All that ever came here.
    total: u64,
    /// What `total` may become.
    allowed: u64,
}

impl Sink {
    fn take(&mut self) -> Option<Bytes> {
        (!self.bytes.is_empty()).then(|| self.bytes.split().freeze())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.total += bytes.len() as u64;
        if self.total > self.allowed {
            let what = format!("a compressed answer that grows to more than {RATIO} times its size");
            let limit = usize::try_from(self.allowed).unwrap_or(usize::MAX);
            return Err(io::Error::other(TooLarge { limit, what }));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8], cut: usize) -> Result<Vec<u8>, String> {
        let mut unpack = Unpack::default();
        let mut data = Vec::new();
        let words = |error: Error| error.to_string();
        for piece in packed.chunks(cut) {
            unpack.push(Bytes::copy_from_slice(piece));
            while let Some(piece) = unpack.next().map_err(words)? {
                data.extend_from_slice(&piece);
            }
        }
        while let Some(piece) = unpack.end().map_err(words)? {
            data.extend_from_slice(&piece);
        }
        Ok(data)
    }

    #[test]
    fn only_servers_elsewhere_are_asked_to_compress() {
        for (url, expected) in [
            ("http://127.0.0.1:3000/mcp", "identity"),
            ("http://[::1]/mcp", "identity"),
            ("https://LocalHost/mcp", "identity"),
            ("http://10.0.0.1/mcp", "gzip"),
            ("https://mcp.example/mcp", "gzip"),
        ] {
            assert_eq!(accepted(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn every_cut_gives_the_same_bytes() {
        let data: Vec<u8> = (0..20_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        // Several members are one body.
        let both = [packed(&data), packed(b"and more")].concat();
        for cut in [1, 7, 1000, PIECE, both.len()] {
            assert_eq!(
                unpacked(&both, cut).unwrap(),
                [&data[..], b"and more"].concat(),
                "in pieces of {cut}"
            );
        }
        assert_eq!(unpacked(b"", 1).unwrap(), b"");
    }

    #[test]
    fn an_event_is_not_kept_back() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let mut unpack = Unpack::default();
        for event in [&b"data: one\n\n"[..], b"data: two\n\n"] {
            encoder.write_all(event).unwrap();
            encoder.flush().unwrap();
            unpack.push(std::mem::take(encoder.get_mut()).into());
            assert_eq!(unpack.next().unwrap().unwrap(), event);
        }
    }

    #[test]
    fn what_swells_is_given_up_before_it_is_large() {
        // The best that the format can do: a thousand bytes for one.
        let free = packed(&vec![0; FREE as usize]);
        assert_eq!(unpacked(&free, free.len()).unwrap().len() as u64, FREE);
        let more = packed(&vec![0; FREE as usize + 1]);
        assert!(unpacked(&more, more.len()).unwrap_err().contains("200 times"));
        let bomb = packed(&vec![0; 4 * FREE as usize]);
        assert!(unpacked(&bomb, 100).unwrap_err().contains("200 times"));
    }

    #[test]
    fn what_is_cut_or_damaged_is_an_error() {
        let mut whole = packed(b"a body that is long enough to be cut");
        for end in 1..whole.len() {
            assert!(unpacked(&whole[..end], 5).is_err(), "cut after {end}");
        }
        // The sum over the bytes is wrong.
        let sum = whole.len() - 6;
        whole[sum] ^= 1;
        assert!(unpacked(&whole, 9).is_err());
        assert!(unpacked(b"{\"jsonrpc\":\"2.0\"}", 5).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_fatal(data in proptest::collection::vec(proptest::num::u8::ANY, 0..200), cut in 1usize..50) {
            let _ = unpacked(&data, cut);
            let mut tail = packed(b"head");
            tail.extend_from_slice(&data);
            let _ = unpacked(&tail, cut);
            proptest::prop_assert_eq!(unpacked(&packed(&data), cut).unwrap(), data);
        }
    }
}
