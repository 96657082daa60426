//! Any text as a configuration file: it loads, or it is told what is wrong with it.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use massgen_config::{FileReader, Format, LoadOptions, load_str};

/// No file exists: what a fuzzer writes must not lead it to the disk.
struct Nothing;

impl FileReader for Nothing {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fuzz_target!(|text: &str| {
    for format in [Format::Yaml, Format::Json] {
        let loaded = load_str(text, Path::new("team.yaml"), format, &LoadOptions::default(), &Nothing);
        assert_eq!(loaded.config.is_none(), loaded.diagnostics.has_errors());
        let _ = loaded.diagnostics.to_string();
    }
});
