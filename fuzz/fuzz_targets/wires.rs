//! Any lines as a provider's server-sent events: a decoder answers with events or errors, and ends.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use massgen_backends::wire::{Codec, Origin, chat::Chat, generate_content::GenerateContent, messages::Messages};
use massgen_backends::{Request, Wire};
use url::Url;

fuzz_target!(|text: &str| {
    let Ok(base) = Url::parse("http://localhost/v1") else { return };
    let origin = || Origin {
        provider: Arc::from("fuzz"),
        wire: Wire { format: "fuzz", host: Arc::from("localhost") },
        key_hint: Arc::from("none"),
    };
    let codecs: [Box<dyn Codec>; 3] = [
        Box::new(Chat::new(origin(), &base, Default::default())),
        Box::new(Messages::new(origin(), &base)),
        Box::new(GenerateContent::new(origin(), &base)),
    ];
    for codec in codecs {
        let mut decoder = codec.decoder(&Request::default());
        for line in text.lines() {
            // `name: data` is a named event, anything else is data.
            match line.split_once(": ") {
                Some((name, data)) => decoder.feed(Some(name), data),
                None => decoder.feed(None, line),
            };
        }
        decoder.finish();
    }
});
